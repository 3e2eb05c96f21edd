/** The engine for tests, and what somebody beside the hub does there. */
import { request } from 'node:http'

/** Where the engine for tests and figures listens: `HUB_ENGINE_SOCKET`, as `scripts/engine` takes it. Paths without a version suit any engine. */
export const ENGINE_SOCKET = process.env.HUB_ENGINE_SOCKET ?? '/var/run/docker.sock'

/** Past the hub, as someone with the engine's socket could: changes the limits of a container that runs. */
export function updateContainer(container: string, change: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const path = `/containers/${container}/update`
    const headers = { 'content-type': 'application/json' }
    request({ socketPath: ENGINE_SOCKET, method: 'POST', path, headers }, (answer) => {
      answer
        .resume()
        .on('end', () => (answer.statusCode === 200 ? resolve() : reject(new Error(`${answer.statusCode}`))))
    })
      .on('error', reject)
      .end(JSON.stringify(change))
  })
}
