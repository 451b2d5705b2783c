//! JavaScript's values as deterministic CBOR (`docs/protocol/operations.md#2`).

use js_sys::{Array, BigInt, Map, Object, Reflect, Uint8Array};
use p2panda_core::cbor::{self, CborError, Kind, Reader, Writer};
use p2panda_core::limits::VALUE_DEPTH_MAX;
use wasm_bindgen::{JsCast, JsValue};

use crate::js::fail;

/// Integers that a number of JavaScript holds without loss: up to 2^53 - 1.
const SAFE: f64 = 9_007_199_254_740_991.0;

/// Writes a value: null, booleans, numbers, texts, `Uint8Array`, arrays and objects. Properties that are
/// undefined are left out. Of any other object it takes the enumerable properties: the package has refused it
/// before (`src/value.ts`), where it is still what the application passed.
pub(crate) fn encode(value: &JsValue) -> Result<Vec<u8>, JsValue> {
    let mut writer = Writer::new();
    write(&mut writer, value, 0)?;
    Ok(writer.into_bytes())
}

fn write(writer: &mut Writer, value: &JsValue, depth: usize) -> Result<(), JsValue> {
    if depth > VALUE_DEPTH_MAX {
        return Err(fail("invalid", "the value is nested too deeply"));
    }
    if value.is_null() {
        writer.null();
    } else if let Some(value) = value.as_bool() {
        writer.bool(value);
    } else if let Some(value) = value.as_f64() {
        match value.fract() == 0.0 && value.abs() <= SAFE {
            true => writer.int(value as i64),
            false => writer.float(value),
        };
    } else if let Some(text) = value.as_string() {
        if value
            .dyn_ref::<js_sys::JsString>()
            .is_some_and(|text| !text.is_valid_utf16())
        {
            return Err(fail("invalid", "a text has half of a character"));
        }
        writer.text(&text);
    } else if let Some(number) = value.dyn_ref::<BigInt>() {
        write_big(writer, number)?;
    } else if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
        writer.bytes(&bytes.to_vec());
    } else if Array::is_array(value) {
        let items = Array::from(value);
        writer.array(items.length() as usize);
        for item in items.iter() {
            write(writer, &item, depth + 1)?;
        }
    } else if value.is_object() && !value.is_function() {
        write_map(writer, value.unchecked_ref(), depth)?;
    } else {
        let kind = value.js_typeof().as_string().unwrap_or_default();
        return Err(fail(
            "invalid",
            &format!("a message cannot have a value of type {kind}"),
        ));
    }
    Ok(())
}

fn write_big(writer: &mut Writer, number: &BigInt) -> Result<(), JsValue> {
    let number = JsValue::from(number.clone());
    if let Ok(value) = u64::try_from(number.clone()) {
        writer.uint(value);
    } else if let Ok(value) = i64::try_from(number) {
        writer.int(value);
    } else {
        return Err(fail("invalid", "a whole number has more than 64 bits"));
    }
    Ok(())
}

/// Keys sorted by their encodings.
fn write_map(writer: &mut Writer, object: &Object, depth: usize) -> Result<(), JsValue> {
    let mut pairs = Vec::new();
    for key in Object::keys(object).iter() {
        let value = Reflect::get(object, &key)?;
        if !value.is_undefined() {
            pairs.push((encode(&key)?, value));
        }
    }
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    writer.map(pairs.len());
    for (key, value) in pairs {
        writer.raw(&key);
        write(writer, &value, depth + 1)?;
    }
    Ok(())
}

/// Reads the first item of a body. Items that JavaScript has nothing for are an error.
pub(crate) fn decode(bytes: &[u8]) -> Result<JsValue, JsValue> {
    let wrong = |error: CborError| fail("invalid", &error.to_string());
    // Also bounds how deep `read` goes.
    let (item, _) = cbor::first(bytes, cbor::VALUE).map_err(wrong)?;
    read(&mut Reader::new(item, cbor::VALUE)).map_err(wrong)
}

fn read(reader: &mut Reader<'_>) -> Result<JsValue, CborError> {
    Ok(match reader.peek()? {
        Kind::Uint => {
            let value = reader.uint()?;
            match value as f64 <= SAFE {
                true => JsValue::from_f64(value as f64),
                false => JsValue::from(value),
            }
        }
        Kind::Negative => {
            let value = reader.int()?;
            match value as f64 >= -SAFE {
                true => JsValue::from_f64(value as f64),
                false => JsValue::from(value),
            }
        }
        Kind::Bytes => Uint8Array::from(reader.bytes()?).into(),
        Kind::Text => JsValue::from_str(reader.text()?),
        Kind::Bool => JsValue::from_bool(reader.bool()?),
        Kind::Float => JsValue::from_f64(reader.float()?),
        Kind::Null => {
            reader.null()?;
            JsValue::NULL
        }
        Kind::Array => {
            let items = Array::new();
            for _ in 0..reader.array()? {
                items.push(&read(reader)?);
            }
            items.into()
        }
        Kind::Map => read_map(reader)?,
        Kind::Tag | Kind::Simple => return Err(CborError::Type),
    })
}

/// An object without a prototype, so that no key means anything; with other keys than texts a `Map`.
fn read_map(reader: &mut Reader<'_>) -> Result<JsValue, CborError> {
    let mut pairs = Vec::new();
    for _ in 0..reader.map()? {
        pairs.push((read(reader)?, read(reader)?));
    }
    if !pairs.iter().all(|(key, _)| key.is_string()) {
        let map = Map::new();
        for (key, value) in &pairs {
            map.set(key, value);
        }
        return Ok(map.into());
    }
    let object: Object = Object::create(JsValue::NULL.unchecked_ref());
    for (key, value) in &pairs {
        // An object without a prototype takes every property.
        let _ = Reflect::set(&object, key, value);
    }
    Ok(object.into())
}
