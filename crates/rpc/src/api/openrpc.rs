//! The OpenRPC document, made from the types.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{Code, Method, Need, Note, RPC_VERSION};

/// A method as the document has it.
pub(crate) struct Described {
    name: &'static str,
    doc: &'static str,
    need: Need,
    params: Value,
    result: Value,
}

impl Described {
    pub(crate) fn of<M: Method>(generator: &mut SchemaGenerator, doc: &'static str) -> Self {
        Described {
            name: M::NAME,
            doc: doc.trim(),
            need: M::NEED,
            params: generator.subschema_for::<M::Params>().into(),
            result: generator.subschema_for::<M::Result>().into(),
        }
    }
}

/// The document that `docs/protocol/openrpc.json` holds.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let settings =
        settings.with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let methods: Vec<Value> = super::methods(&mut generator)
        .into_iter()
        .map(|method| {
            json!({
                "name": method.name,
                "summary": method.doc,
                "paramStructure": "by-name",
                "params": [{ "name": "params", "required": true, "schema": method.params }],
                "result": { "name": "result", "schema": method.result },
                "x-need": need(method.need),
            })
        })
        .collect();
    let note: Value = generator.subschema_for::<Note>().into();
    let errors: Vec<Value> = Code::ALL
        .iter()
        .map(|code| json!({ "code": code.number(), "message": code.as_str() }))
        .collect();
    json!({
        "openrpc": "1.3.2",
        "info": { "title": "panda", "version": RPC_VERSION.to_string() },
        "methods": methods,
        "x-notifications": note,
        "components": {
            "schemas": generator.take_definitions(true),
            "errors": errors,
        },
    })
}

fn need(need: Need) -> &'static str {
    match need {
        Need::Nothing => "nothing",
        Need::Credential => "credential",
        Need::Read => "read",
        Need::Publish => "publish-as-node",
        Need::SpacePublish => "publish-as-node, space:read",
        Need::Relay => "relay",
        Need::SpaceRead => "space:read",
        Need::SpaceAdmin => "space:admin",
        Need::Admin => "admin",
    }
}
