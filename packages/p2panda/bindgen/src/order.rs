//! The order of a module's functions. `gzip` finds repetitions 32 KiB back, so that a module with similar
//! functions next to each other takes fewer bytes. Nothing else changes.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{FunctionBody, FunctionSectionReader, Parser, Payload, TypeRef};

/// The module with similar functions next to each other.
pub fn by_similarity(module: &[u8]) -> Result<Vec<u8>, Error<Infallible>> {
    let (imported, bodies) = functions(module)?;
    let order = chain(&bodies.iter().map(Pieces::of).collect::<Vec<_>>());
    let mut places = vec![0; order.len()];
    for (place, &function) in order.iter().enumerate() {
        places[function] = place;
    }
    let mut reordered = Module::new();
    let mut reorder = Reorder {
        imported,
        bodies,
        order,
        places,
        encoded: 0,
    };
    reorder.parse_core_module(&mut reordered, Parser::new(0), module)?;
    Ok(reordered.finish())
}

/// The number of imported functions, and the bodies of the others.
fn functions(module: &[u8]) -> Result<(usize, Vec<FunctionBody<'_>>), Error<Infallible>> {
    let (mut imported, mut bodies) = (0, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    Ok((imported, bodies))
}

/// Which sequences of four bytes a function has, by their hashes.
struct Pieces {
    set: [u64; Pieces::WORDS],
    count: u32,
}

impl Pieces {
    const WORDS: usize = 64;

    fn of(body: &FunctionBody<'_>) -> Pieces {
        let mut set = [0; Pieces::WORDS];
        for piece in body.as_bytes().windows(4) {
            let number = piece
                .iter()
                .fold(0_u32, |sum, &byte| sum << 8 | u32::from(byte));
            // Of a product the upper bits depend on all of the factor.
            let bit = number.wrapping_mul(0x9e37_79b1) >> 20;
            set[bit as usize / 64] |= 1 << (bit % 64);
        }
        let count = set.iter().map(|word: &u64| word.count_ones()).sum();
        Pieces { set, count }
    }

    fn common(&self, other: &Pieces) -> u32 {
        let words = self.set.iter().zip(&other.set);
        words.map(|(one, other)| (one & other).count_ones()).sum()
    }
}

/// Each function is followed by the one, of those that are left, that repeats most of it.
fn chain(all: &[Pieces]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..all.len()).collect();
    let mut order = Vec::with_capacity(all.len());
    let mut next = 0;
    while !left.is_empty() {
        let last = left.swap_remove(next);
        order.push(last);
        let score = |function: usize| {
            let pieces = &all[function];
            // Small functions are similar to everything.
            let common = u64::from(pieces.common(&all[last])) << 32;
            (common / u64::from(pieces.count + 60), function)
        };
        next = (0..left.len())
            .max_by_key(|&at| score(left[at]))
            .unwrap_or(0);
    }
    order
}

/// Encodes a module with its functions in another order.
struct Reorder<'a> {
    imported: usize,
    bodies: Vec<FunctionBody<'a>>,
    /// By place: the function before.
    order: Vec<usize>,
    /// By function: its place.
    places: Vec<usize>,
    encoded: usize,
}

impl Reencode for Reorder<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Infallible>> {
        Ok(match (function as usize).checked_sub(self.imported) {
            None => function,
            Some(own) => (self.imported + self.places[own]) as u32,
        })
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        let types = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
        for &function in &self.order {
            functions.function(types[function]);
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        _: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let body = self.bodies[self.order[self.encoded]].clone();
        self.encoded += 1;
        utils::parse_function_body(self, code, body)
    }
}
