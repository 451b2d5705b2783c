// The package as a page has it without a bundler.
import * as p2panda from "../../dist/index.js";

window.p2panda = p2panda;
