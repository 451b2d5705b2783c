#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use alloc::vec;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn verdict(hex: &str) -> Result<(), CborError> {
    check(&bytes(hex), HEADER)
}

#[test]
fn every_deterministic_form_is_accepted() {
    for hex in [
        "00",
        "17",
        "1818",
        "18ff",
        "190100",
        "1a00010000",
        "1b0000000100000000",
        "1bffffffffffffffff",
        "20",
        "3818",
        "3bffffffffffffffff",
        "40",
        "4100",
        "60",
        "6161",
        "80",
        "8100",
        "a0",
        "a10000",
        "a261620062616100",
        "a200002000",
        "c000",
        "d9d9f700",
        "f4",
        "f5",
        "f6",
        "f7",
        "e0",
        "f820",
        "f8ff",
        "f93c00",
        "f97e00",
        "f97e01",
        "fa47c35000",
        "fb3ff199999999999a",
        "fa7fc00001",
        "c249010000000000000000",
        "c349ffffffffffffffffff",
    ] {
        assert_eq!(verdict(hex), Ok(()), "{hex}");
    }
}

#[test]
fn a_longer_form_is_refused() {
    for hex in [
        "1817",
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff",
        "3817",
        "5800",
        "7800",
        "9800",
        "b800",
        "d81700",
        "9f00ff",
        "5f4100ff",
        "7f6161ff",
        "bf0000ff",
        "fa3f800000",
        "fb3ff0000000000000",
        "fa7fc00000",
        "fb7ff8000000000000",
        "fb7ff8000020000000",
        "c240",
        "c24101",
        "c248ffffffffffffffff",
        "c24900ffffffffffffffff",
        "a26161006161",
        "a200000000",
        "a2626161006162",
    ] {
        assert_eq!(verdict(hex), Err(CborError::NonDeterministic), "{hex}");
    }
}

#[test]
fn what_is_not_cbor_is_named() {
    for hex in [
        "1c", "3d", "1f", "3f", "df", "ff", "f800", "f81f", "fc", "fe", "c200", "c26161",
    ] {
        assert_eq!(verdict(hex), Err(CborError::Malformed), "{hex}");
    }
    for hex in [
        "", "18", "19ff", "41", "6261", "81", "a1", "a100", "c0", "f9", "fb00",
    ] {
        assert_eq!(verdict(hex), Err(CborError::Eof), "{hex}");
    }
    assert_eq!(verdict("61ff"), Err(CborError::Utf8));
    assert_eq!(verdict("0000"), Err(CborError::Trailing));
}

#[test]
fn lengths_are_accepted_up_to_the_limit() {
    for (len, expected) in [(512, Ok(())), (513, Err(CborError::TooLong))] {
        let mut writer = Writer::new();
        writer.bytes(&vec![0; len]);
        assert_eq!(check(writer.as_bytes(), HEADER), expected);
        let mut writer = Writer::new();
        writer.text(&"a".repeat(len));
        assert_eq!(check(writer.as_bytes(), HEADER), expected);
        let mut array = Writer::new();
        array.array(len).raw(&vec![0; len]);
        assert_eq!(check(array.as_bytes(), HEADER), expected);
        let mut map = Writer::new();
        map.map(len);
        for key in 0..len {
            map.uint(key as u64).null();
        }
        assert_eq!(check(map.as_bytes(), HEADER), expected);
    }
    // A length that nobody could hold is refused before anything is done with it.
    assert_eq!(
        check(&bytes("9bffffffffffffffff"), VALUE),
        Err(CborError::TooLong)
    );
    assert_eq!(
        check(&bytes("5b7fffffffffffffff"), VALUE),
        Err(CborError::TooLong)
    );
    assert_eq!(check(&bytes("9a3b9aca00"), VALUE), Err(CborError::Eof));
    assert_eq!(check(&bytes("9a3b9aca01"), VALUE), Err(CborError::TooLong));
}

#[test]
fn nesting_is_accepted_up_to_the_limit() {
    for limits in [HEADER, VALUE] {
        for opener in [&[0x81][..], &[0xa1, 0x00], &[0xc0]] {
            let mut nested = opener.repeat(limits.depth_max);
            nested.push(0);
            assert_eq!(check(&nested, limits), Ok(()));
            let mut nested = opener.repeat(limits.depth_max + 1);
            nested.push(0);
            assert_eq!(check(&nested, limits), Err(CborError::TooDeep));
        }
        let empty = [vec![0x81; limits.depth_max], vec![0x80]].concat();
        assert_eq!(check(&empty, limits), Err(CborError::TooDeep));
    }
    // A megabyte of openers costs no stack.
    assert_eq!(check(&vec![0x81; 1 << 20], HEADER), Err(CborError::TooDeep));
}

#[test]
fn a_buffer_that_is_erased_holds_the_same_bytes() {
    fn fill<B: Buffer>(mut writer: Writer<B>) -> B {
        let lengths = [0, 23, 24, 255, 256, 65_535, 65_536];
        for len in lengths {
            writer.bytes(&vec![7; len]).ints(&[0, 23, 24, 255]);
        }
        writer.uint(u64::MAX).raw(b"\xf6");
        writer.into_bytes()
    }
    let erased = fill(Writer::<Zeroizing<Vec<u8>>>::default());
    assert_eq!(*erased, fill(Writer::new()));
}

#[test]
fn what_is_written_is_read_back() {
    let mut writer = Writer::new();
    writer
        .array(9)
        .uint(u64::MAX)
        .int(i64::MIN)
        .bytes(b"\x00\xff")
        .text("pända");
    writer
        .bool(true)
        .null()
        .float(1.5)
        .tag(1)
        .int(-1)
        .map(1)
        .uint(0)
        .float(1.1);
    let mut reader = Reader::checked(writer.as_bytes(), VALUE).unwrap();
    assert_eq!(reader.array(), Ok(9));
    assert_eq!(reader.uint(), Ok(u64::MAX));
    assert_eq!(reader.int(), Ok(i64::MIN));
    assert_eq!(reader.bytes(), Ok(&b"\x00\xff"[..]));
    assert_eq!(reader.text(), Ok("pända"));
    assert_eq!(reader.bool(), Ok(true));
    assert_eq!(reader.null(), Ok(()));
    assert_eq!(reader.float(), Ok(1.5));
    assert_eq!(reader.tag(), Ok(1));
    assert_eq!(reader.int(), Ok(-1));
    let map = reader.clone().item().unwrap();
    assert_eq!(map, bytes("a100fb3ff199999999999a"));
    assert_eq!(reader.map(), Ok(1));
    assert_eq!(reader.uint(), Ok(0));
    assert_eq!(reader.float(), Ok(1.1));
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn an_item_of_another_type_is_not_taken() {
    let kinds = [
        ("00", Kind::Uint),
        ("20", Kind::Negative),
        ("40", Kind::Bytes),
        ("60", Kind::Text),
        ("80", Kind::Array),
        ("a0", Kind::Map),
        ("c000", Kind::Tag),
        ("f4", Kind::Bool),
        ("f6", Kind::Null),
        ("f93c00", Kind::Float),
        ("f7", Kind::Simple),
    ];
    for (hex, kind) in kinds {
        let input = bytes(hex);
        let reader = || Reader::new(&input, VALUE);
        assert_eq!(reader().peek(), Ok(kind));
        let wrong = |expected: Kind, error: Option<CborError>| {
            assert_eq!(
                error == Some(CborError::Type),
                kind != expected,
                "{hex} {expected:?}"
            );
        };
        wrong(Kind::Uint, reader().uint().err());
        wrong(Kind::Bytes, reader().bytes().err());
        wrong(Kind::Text, reader().text().err());
        wrong(Kind::Array, reader().array().err());
        wrong(Kind::Map, reader().map().err());
        wrong(Kind::Tag, reader().tag().err());
        wrong(Kind::Bool, reader().bool().err());
        wrong(Kind::Null, reader().null().err());
        wrong(Kind::Float, reader().float().err());
    }
}

#[test]
fn bytes_after_the_first_item_are_split_off() {
    let input = bytes("820102ff");
    assert_eq!(first(&input, VALUE), Ok((&input[..3], &input[3..])));
    assert_eq!(check(&input, VALUE), Err(CborError::Trailing));
}
