/** The WebAssembly module of OPA in this process: bounded memory, one entry point, its imports known. */
import * as published from '@open-policy-agent/opa-wasm'
import type { PolicyData } from './data.ts'
import type { PolicyInstance } from './engine.ts'

/** 64 MiB in pages of 64 KiB. With a maximum, an input that does not fit throws, and the next call works; without one the memory stays grown. */
const MEMORY_PAGES_MAX = 1024
const MEMORY_PAGES_INITIAL = 16
const ENTRY_POINT = 'hub/admit/decision'
/** Of the operator's rules: the answer that is made of them when they are compiled (home/policy-seal.ts). */
export const HOME_ENTRY_POINT = 'hub/entry/answer'
// The package's ES module offers the synchronous loader only on its default export, and its types forget that.
const { loadPolicySync } = (published as unknown as { default: typeof published }).default
// Neither the language's nor Node's types describe WebAssembly; these two are all that is used.
declare const WebAssembly: { Module: new (bytes: Uint8Array) => object }
interface Instance {
  exports: Record<string, (address?: number) => number>
}
const encoder = new TextEncoder()

export interface PolicyModule {
  /** Imported built-ins by name, sorted. */
  readonly builtins: readonly string[]
  instantiate(data: PolicyData): PolicyInstance
}

/** Compiles the module and reads what it imports and offers. Throws when it is no policy module or has another entry point. */
export function compileModule(wasm: Buffer, entryPoint = ENTRY_POINT): PolicyModule {
  // A copy, so that the bytes are a plain ArrayBuffer of their own.
  const module = new WebAssembly.Module(new Uint8Array(wasm))
  const load = () => {
    const loaded = loadPolicySync(module, { initial: MEMORY_PAGES_INITIAL, maximum: MEMORY_PAGES_MAX })
    if (JSON.stringify(loaded.entrypoints) !== JSON.stringify({ [entryPoint]: 0 }))
      throw new Error(`the module's only entry point must be ${entryPoint}`)
    return loaded
  }
  const first = load()
  return {
    builtins: builtinsOf(first.wasmInstance as Instance, (first.mem as { buffer: ArrayBuffer }).buffer),
    instantiate(data) {
      const loaded = load()
      loaded.setData(data)
      return { evaluate: (inputText) => loaded.evaluate(encoder.encode(inputText).buffer) }
    },
  }
}

function builtinsOf({ exports }: Instance, memory: ArrayBuffer): string[] {
  const address = exports.opa_json_dump?.(exports.builtins?.())
  if (address === undefined) throw new Error('the module does not say what it imports')
  const bytes = new Uint8Array(memory, address)
  return Object.keys(JSON.parse(new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0))))).sort()
}
