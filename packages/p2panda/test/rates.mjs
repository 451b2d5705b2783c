// Measures the modules in Node by the time of this process, which other programs slow down little:
// `node test/rates.mjs`, one line of JSON. No test.
import * as modules from "../dist/wasm.js";
import { rates } from "./browser/rates.js";

const cpu = () => process.cpuUsage().user / 1_000;
console.log(JSON.stringify(await rates(modules, cpu)));
