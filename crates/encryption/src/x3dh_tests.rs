#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use crate::vectors::*;

use super::*;
use crate::bundle::OneTimeBundle;

fn secret(value: &serde_json::Value) -> SecretKey {
    SecretKey::from_bytes(array(value))
}

#[test]
fn a_first_message_with_a_key_of_small_order_is_refused_as_such() {
    let file = load("encryption-x3dh.json");
    let cases = list(&file["cases"]);
    let case = cases
        .iter()
        .find(|case| required(case, "accept") == "reject");
    let case = case.expect("a case with a key of small order");
    let message = X3dhCiphertext::decode(&bytes(&case["ciphertext_cbor"])).unwrap();
    let [bob, prekey] = ["bob_identity_secret", "bob_prekey_secret"].map(|key| secret(&case[key]));
    assert_eq!(
        decrypt(&message, &bob, &prekey, None),
        Err(X3dhError::ZeroAgreement(ZeroAgreement))
    );
}

#[test]
fn vector_x3dh() {
    for case in list(&load("encryption-x3dh.json")["cases"]) {
        let bob = secret(&case["bob_identity_secret"]);
        let prekey = secret(&case["bob_prekey_secret"]);
        let message = X3dhCiphertext::decode(&bytes(&case["ciphertext_cbor"]));
        if required(case, "accept") == "reject" {
            let opened = message.map(|message| decrypt(&message, &bob, &prekey, None));
            assert!(!matches!(opened, Ok(Ok(_))), "{}", case["case"]);
            continue;
        }
        let message = message.unwrap();
        let onetime = case["bob_onetime_secret"].as_str();
        let onetime = onetime.map(|hex| SecretKey::from_bytes(unhex(hex).try_into().unwrap()));
        let plaintext = bytes(&case["plaintext"]);
        let alice = secret(&case["alice_identity_secret"]);
        let bundle = OneTimeBundle::decode(&bytes(&case["bundle_cbor"])).unwrap();
        let bundle = Bundle::OneTime(bundle);
        let ephemeral = secret(&case["ephemeral_secret"]);
        let agreements = Agreements {
            dh1: alice.agree(bundle.prekey()).unwrap(),
            dh2: ephemeral.agree(bundle.identity_key()).unwrap(),
            dh3: ephemeral.agree(bundle.prekey()).unwrap(),
            dh4: bundle.onetime().map(|o| ephemeral.agree(&o.key).unwrap()),
        };
        assert_eq!(hex(agreements.dh1.as_bytes()), text(&case["dh1"]));
        assert_eq!(hex(agreements.dh2.as_bytes()), text(&case["dh2"]));
        assert_eq!(hex(agreements.dh3.as_bytes()), text(&case["dh3"]));
        let dh4 = agreements.dh4.as_ref().map(|dh| hex(dh.as_bytes()));
        assert_eq!(dh4.as_deref(), case["dh4"].as_str());
        assert_eq!(hex(&agreements.ikm()), text(&case["ikm"]));
        let (key, nonce) = agreements.derive();
        assert_eq!(hex(key.as_bytes()), text(&case["sk"]));
        assert_eq!(hex(&nonce), text(&case["nonce"]));
        let ad = associated(&alice.public_key(), bundle.identity_key());
        assert_eq!(hex(&ad), text(&case["ad"]));

        let sealed = encrypt(
            &plaintext,
            &alice,
            &bundle,
            NOW,
            &mut rng(&case["rng_seed"]),
        );
        assert_eq!(sealed.unwrap(), message);
        assert_eq!(hex(&message.encode()), text(&case["ciphertext_cbor"]));
        let opened = decrypt(&message, &bob, &prekey, onetime.as_ref());
        assert_eq!(*opened.unwrap(), plaintext);
        for reject in list(&case["reject"]) {
            let message = X3dhCiphertext::decode(&bytes(&reject["cbor"])).unwrap();
            let onetime = onetime
                .as_ref()
                .filter(|_| message.onetime_prekey_id.is_some());
            let opened = decrypt(&message, &bob, &prekey, onetime);
            assert!(opened.is_err(), "{}", reject["why"]);
        }
    }
}
