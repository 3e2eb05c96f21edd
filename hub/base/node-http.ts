/**
 * Node's HTTP, for every file that sends or serves. `import 'node:http'` in a module evaluates all its exports, even its lazily made
 * WebSocket, and with it all of undici: 8 MiB in each process that nothing here uses. Taken this way undici is never loaded, as
 * in a CommonJS module. `test/house/layers.ts` allows no other import of it; types are still imported from `node:http`.
 */
export const http = process.getBuiltinModule('node:http')
