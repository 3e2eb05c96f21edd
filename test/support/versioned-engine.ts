/** An engine on a socket that speaks some versions of the API and refuses every other, as a real one does; with containers that can be removed. */
import http from 'node:http'

export interface VersionedEngine extends AsyncDisposable {
  /** Method and path of each call, without the query. */
  calls: string[]
  /** Id to labels. */
  containers: Map<string, Record<string, string>>
}

/** `tells`: its answer to the question for its versions; null: none comes. By default it is honest. */
export async function openVersionedEngine(
  socketPath: string,
  oldest: number,
  newest: number,
  tells: () => string | null = () => JSON.stringify({ ApiVersion: `1.${newest}`, MinAPIVersion: `1.${oldest}` }),
): Promise<VersionedEngine> {
  const calls: string[] = []
  const containers = new Map<string, Record<string, string>>()
  const server = http.createServer(({ method, url = '' }, response) => {
    const { pathname, searchParams } = new URL(url, 'http://engine')
    calls.push(`${method} ${pathname}`)
    const say = (status: number, value?: object) => response.writeHead(status).end(value && JSON.stringify(value))
    if (pathname === '/version') {
      const told = tells()
      if (told !== null) response.writeHead(200).end(told)
      return
    }
    const minor = Number(/^\/v1\.(\d+)\//.exec(pathname)?.[1] ?? newest)
    if (minor < oldest || minor > newest) {
      say(400, { message: `client version 1.${minor} is too ${minor < oldest ? 'old' : 'new'}. Speak another` })
      return
    }
    if (pathname.endsWith('/containers/json')) {
      const [label = ''] = (JSON.parse(searchParams.get('filters') ?? '{}') as { label: string[] }).label
      const rows = [...containers]
        .filter(([, labels]) => `hub.instance=${labels['hub.instance']}` === label)
        .map(([Id, Labels]) => ({ Id, Names: [`/hub-${Id.slice(0, 4)}`], State: 'created', Created: 1, Labels }))
      response.writeHead(200).end(JSON.stringify(rows))
      return
    }
    const id = /\/containers\/(\w+)/.exec(pathname)?.[1] ?? ''
    if (!containers.has(id)) say(404, {})
    else if (method === 'GET') say(200, { State: { Status: 'running' } })
    else {
      if (method === 'DELETE') containers.delete(id)
      say(204)
    }
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  return {
    calls,
    containers,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Odd engines, each with what its calls must begin with: a version, or none where none can be agreed. */
export const ODD_ENGINES: readonly OddEngine[] = [
  ['of Docker 20.10', 12, 41, '/v1.41', undefined],
  ['of Docker 29 that refuses 1.43', 44, 52, '/v1.52', undefined],
  ['newer than is known here', 44, 70, '/v1.56', undefined],
  ['that speaks nothing that is known here', 60, 70, '', undefined],
  ['that names no version', 44, 52, '', () => '{"hello":1}'],
  ['that is no JSON', 44, 52, '', () => '<html>'],
  ['that contradicts itself', 44, 52, '', () => '{"ApiVersion":"1.44","MinAPIVersion":"1.50"}'],
  ['that refuses what it names', 60, 70, '', () => '{"ApiVersion":"1.56","MinAPIVersion":"1.12"}'],
  ['that never tells its versions', 44, 52, '', () => null],
]
type OddEngine = readonly [
  what: string,
  oldest: number,
  newest: number,
  prefix: string,
  tells: (() => string | null) | undefined,
]
