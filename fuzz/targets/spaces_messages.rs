#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| p2panda_fuzz::space_messages::machine(input));
