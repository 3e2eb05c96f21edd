/** Where the engine for tests and figures listens: `HUB_ENGINE_SOCKET`, as `scripts/engine` takes it. Paths without a version suit any engine. */
export const ENGINE_SOCKET = process.env.HUB_ENGINE_SOCKET ?? '/var/run/docker.sock'
