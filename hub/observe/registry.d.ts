/** The package has types for its whole, and the hub loads this one file of it (metrics.ts). */
declare module 'prom-client/lib/registry.js' {
  import type { Registry } from 'prom-client'

  const registry: typeof Registry
  export = registry
}
