'use strict'
/**
 * Stands for the packages that dockerode loads and the hub never uses (direct dependencies in package.json, of versions that
 * dockerode takes; npm's `overrides` would say it better, but the npm of Debian 12 fails on them): SSH for `ssh://` engines, gRPC and
 * protocol buffers for BuildKit sessions. The hub speaks to its engine over one Unix socket. Whoever reaches for one of them fails by name.
 */
module.exports = new Proxy(
  {},
  {
    get: (_, name) =>
      function Absent() {
        throw new Error(
          `${String(name)} is left out of the hub: it reaches its engine over a Unix socket alone, without ssh:// and without BuildKit sessions`,
        )
      },
  },
)
