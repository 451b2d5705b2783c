//! `p2panda-bindgen MODULE.wasm FOLDER`: the module as an ES module that loads in pages, workers and
//! Node, with its types.

mod order;

use std::path::Path;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(module), Some(folder)) = (args.next(), args.next()) else {
        return Err("name a module and a folder".into());
    };
    let mut bindgen = Bindgen::new();
    bindgen.web(true)?;
    bindgen.input_path(Path::new(&module));
    bindgen.typescript(true).omit_default_module_path(false);
    bindgen.remove_name_section(true);
    bindgen.remove_producers_section(true);
    bindgen.generate(Path::new(&folder))?;
    let name = Path::new(&module).file_stem().ok_or("name a file")?;
    let bound = Path::new(&folder).join(format!("{}_bg.wasm", name.to_string_lossy()));
    std::fs::write(&bound, order::by_similarity(&std::fs::read(&bound)?)?)?;
    Ok(())
}
