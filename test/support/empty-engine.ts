/** The smallest engine: it speaks the API of 20.10 and has no container. For tests of processes that need one to answer, and no more. */
import http from 'node:http'

const VERSION = '{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}'

export const createEmptyEngine = (): http.Server =>
  http.createServer(({ url }, response) => response.end(url === '/version' ? VERSION : '[]'))

/** The same with containers of one home, by id: they run until they are told to stop, and are gone then. */
export function createListEngine(containers: Set<string>, instance: string): http.Server {
  const shown = (id: string) => ({
    Id: id,
    Names: [`/hub-test-${id.slice(0, 6)}`],
    State: 'running',
    Created: Math.floor(Date.now() / 1000),
    Labels: { 'hub.instance': instance, 'hub.session': `s-${id.slice(0, 6)}` },
  })
  return http.createServer((request, response) => {
    const { url = '', method } = request
    request.resume()
    response.setHeader('content-type', 'application/json')
    const [, id, verb = ''] = /\/containers\/([0-9a-f]{64})(?:\/(\w+))?/.exec(url) ?? []
    if (id === undefined) {
      const list = url.includes('/containers/json') ? JSON.stringify([...containers].map(shown)) : '[]'
      response.end(url === '/version' ? VERSION : list)
      return
    }
    const isStop = method === 'DELETE' || verb === 'kill' || verb === 'stop'
    response.statusCode = containers.has(id) ? (isStop ? 204 : 200) : 404
    if (isStop) containers.delete(id)
    response.end(response.statusCode === 200 ? JSON.stringify({ ...shown(id), State: { Running: true } }) : undefined)
  })
}
