// Writes texts by llama.cpp, for generate.py: node llama.mjs FILE.gguf THREADS PROMPT NEW, PROMPT pieces with commas.
// Each line of stdin asks for one text; the answer is a line with its pieces. NODE_MODULES names the folder with node-llama-cpp.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";
import readline from "node:readline";

const find = createRequire(process.env.NODE_MODULES + "/").resolve;
const {getLlama} = await import(pathToFileURL(find("node-llama-cpp")));
const [file, threads, prompt, wanted] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", maxThreads: Number(threads), logLevel: "error"});
const model = await llama.loadModel({modelPath: file, gpuLayers: 0});
const context = await model.createContext({contextSize: 1024, batchSize: 512, threads: Number(threads)});
const sequence = context.getSequence();
const start = prompt.split(",").map(Number);

for await (const _ of readline.createInterface({input: process.stdin})) {
    const pieces = [];
    await sequence.clearHistory();
    for await (const piece of sequence.evaluate(start, {temperature: 0, yieldEogToken: true})) {
        pieces.push(piece);
        if (pieces.length == Number(wanted)) break;
    }
    console.log(pieces.join(","));
}
