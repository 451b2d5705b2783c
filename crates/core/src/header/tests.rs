#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use alloc::vec;

use super::*;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// Signs fields that no draft of ours would have.
fn forge(write: fn(&mut Writer), optional: usize, author: &[u8; 32]) -> Bytes {
    let fields = |signature: Option<&Signature>| {
        let mut writer = Writer::new();
        writer.array(2 + optional + usize::from(signature.is_some()));
        writer.uint(1).bytes(author);
        if let Some(signature) = signature {
            writer.bytes(signature.as_bytes());
        }
        write(&mut writer);
        writer.into_bytes()
    };
    let signature = key().sign(&fields(None));
    Bytes::from(fields(Some(&signature)))
}

fn forged(write: fn(&mut Writer), optional: usize) -> Result<Header, HeaderError> {
    Header::decode(forge(write, optional, key().verifying_key().as_bytes()))
}

#[test]
fn the_first_failing_step_names_the_error() {
    let too_large = |writer: &mut Writer| {
        writer.uint(1 << 32).uint(0);
    };
    assert_eq!(
        forged(too_large, 2),
        Err(HeaderError::Type(Field::PayloadSize))
    );
    let no_seq = |writer: &mut Writer| {
        writer.uint(0);
    };
    assert_eq!(forged(no_seq, 1), Err(HeaderError::Missing(Field::SeqNum)));
    let seq = |writer: &mut Writer| {
        writer.uint(0).uint(1 << 32);
    };
    assert_eq!(forged(seq, 2), Err(HeaderError::Type(Field::SeqNum)));
    // The key is judged before what follows it, and the signature last of all.
    let mut no_point = [0; 32];
    no_point[0] = 2;
    let header = forge(no_seq, 1, &no_point);
    assert_eq!(Header::decode(header), Err(HeaderError::InvalidKey));
    let whole = |writer: &mut Writer| {
        writer.uint(0).uint(0);
    };
    let header = Header::decode_unverified(forge(whole, 2, &no_point)).unwrap();
    assert_eq!(header.verify(), Err(HeaderError::InvalidKey));
    let other = SigningKey::from_bytes(&[1; 32]).verifying_key();
    let header = forge(whole, 2, other.as_bytes());
    assert_eq!(Header::decode(header), Err(HeaderError::InvalidSignature));
}

#[test]
fn a_tag_on_any_field_is_refused_though_the_author_signed_it() {
    let refused = |write, optional| {
        assert_eq!(forged(write, optional), Err(HeaderError::Tagged));
    };
    refused(|w| ignore(w.tag(100).uint(0).uint(0)), 2);
    refused(|w| ignore(w.uint(1).tag(100).bytes(&[0; 32]).uint(0)), 3);
    refused(|w| ignore(w.uint(0).tag(100).uint(0)), 2);
    refused(|w| ignore(w.uint(0).uint(1).tag(100).bytes(&[0; 32])), 3);
    // Within the extensions a tag survives re-encoding, so the header stays one of a kind.
    let extensions = forged(|w| ignore(w.uint(0).uint(0).tag(100).uint(0)), 3).unwrap();
    assert_eq!(extensions.extensions(), Some(&[0xd8, 100, 0][..]));
}

fn ignore(_: &mut Writer) {}

#[test]
fn headers_are_accepted_up_to_the_limit() {
    // Arrays of 500 strings of 400 bytes each, and two strings that fill up to the size.
    let item = |bytes: usize| {
        let strings = (bytes - 540) / 403;
        let mut writer = Writer::new();
        writer.array(strings.div_ceil(500) + 1);
        for start in (0..strings).step_by(500) {
            let count = (strings - start).min(500);
            writer.array(count);
            for _ in 0..count {
                writer.bytes(&[0; 400]);
            }
        }
        let left = bytes - writer.as_bytes().len() - 7;
        writer
            .array(2)
            .bytes(&vec![0; left / 2])
            .bytes(&vec![0; left - left / 2]);
        writer.into_bytes()
    };
    let signed = |bytes: usize| {
        let extensions = item(bytes - 104);
        let draft = Draft {
            extensions: Some(&extensions),
            ..Draft::default()
        };
        Header::sign(&key(), draft)
    };
    let largest = signed(HEADER_BYTES_MAX).unwrap();
    assert_eq!(largest.as_bytes().len(), HEADER_BYTES_MAX);
    assert_eq!(Header::decode(largest.as_bytes().clone()), Ok(largest));
    assert_eq!(signed(HEADER_BYTES_MAX + 1), Err(DraftError::TooLarge));
    let larger = Bytes::from(vec![0; HEADER_BYTES_MAX + 1]);
    assert_eq!(Header::decode(larger), Err(HeaderError::TooLarge));
}

#[test]
fn a_body_that_no_frame_can_hold_is_refused() {
    let body = vec![0; OPERATION_BYTES_MAX - OPERATION_FRAME_OVERHEAD_BYTES - 142];
    let draft = Draft {
        body: Some(&body),
        ..Draft::default()
    };
    let header = Header::sign(&key(), draft).unwrap();
    assert_eq!(header.as_bytes().len(), 142);
    let body = vec![0; body.len() + 1];
    let draft = Draft {
        body: Some(&body),
        ..Draft::default()
    };
    assert_eq!(Header::sign(&key(), draft), Err(DraftError::TooLarge));
}

#[test]
fn extensions_that_nobody_could_decode_are_refused() {
    let deepest = [&[0x81; 63][..], &[0]].concat();
    let deeper = [&[0x81; 64][..], &[0]].concat();
    let sign = |extensions: &[u8]| {
        let draft = Draft {
            extensions: Some(extensions),
            ..Draft::default()
        };
        Header::sign(&key(), draft)
    };
    let header = sign(&deepest).unwrap();
    assert_eq!(Header::decode(header.as_bytes().clone()), Ok(header));
    for (extensions, error) in [
        (&deeper[..], CborError::TooDeep),
        (&[], CborError::Eof),
        (&[0, 0], CborError::Trailing),
        (&[0x18, 0], CborError::NonDeterministic),
    ] {
        assert_eq!(sign(extensions), Err(DraftError::Extensions(error)));
    }
}

#[test]
fn a_signed_header_is_what_its_bytes_decode_to() {
    let extensions = [0x81, 0x01];
    for (seq, body, extensions) in [
        (0, None, None),
        (0, Some(&b"body"[..]), None),
        (7, None, Some(&extensions[..])),
        (u32::MAX, Some(&[1; 70_000][..]), Some(&extensions[..])),
    ] {
        let draft = Draft {
            seq,
            backlink: (seq > 0).then(|| Hash::digest(b"before")),
            body,
            extensions,
        };
        let signed = Header::sign(&key(), draft).unwrap();
        let decoded = Header::decode(signed.as_bytes().clone()).unwrap();
        let fields = |header: &Header| {
            let Header {
                bytes,
                id,
                author,
                signature,
                payload_size,
                payload_hash,
                seq,
                backlink,
                extensions_start,
            } = header.clone();
            let payload = (payload_size, payload_hash);
            let place = (author, seq, backlink);
            (
                id.of(&bytes),
                bytes,
                signature,
                payload,
                place,
                extensions_start,
            )
        };
        assert_eq!(fields(&signed), fields(&decoded));
        assert_eq!(signed.extensions(), extensions);
        assert!(signed.as_bytes().len() <= FIELDS_BYTES_MAX + 2);
    }
}
