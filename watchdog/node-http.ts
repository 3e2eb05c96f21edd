/**
 * Node's HTTP, for every file of the watchdog that sends or serves. `import 'node:http'` in a module evaluates all that it exports, its
 * lazily made WebSocket too, and with that the whole of undici: 8 MiB that nothing here uses. Taken this way it is never loaded, as in a
 * CommonJS module; `test/house/layers.ts` sends every import here, and types are imported from `node:http` as ever.
 */
export const http = process.getBuiltinModule('node:http')
