/** A small image with a base of its own, as a machine's is made: cached, assembled, and loaded into an engine that is not one. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { imageOf, layerOf } from '../../scripts/images/archive.ts'
import { loadImages } from '../../scripts/images/assembly.ts'
import { baseLayer } from '../../scripts/images/base.ts'
import { createImageEngine } from '../../scripts/images/loading.ts'

export const smallSocket = (home: string): string => join(home, 'engine.sock')
export const smallCache = (home: string): string => join(home, 'cache')

export async function loadSmallImage(home: string): Promise<void> {
  const node = join(home, 'node')
  const program = layerOf('agent', [
    { path: 'app/main.js', kind: 'file', mode: 0o444, data: Buffer.alloc(300_000, 'x') },
  ])
  const base = baseLayer(smallCache(home), { arch: 'x64', node, libraries: [], own: false })
  const engine = createImageEngine({ socketPath: smallSocket(home), deadlineMs: 120_000, loadDeadlineMs: 120_000 })
  await loadImages([imageOf('hub/small:latest', [base, program], 'x64')], engine, () => undefined)
}

/** What stands for the binary of Node. */
export const makeSmallNode = (home: string): void => writeFileSync(join(home, 'node'), Buffer.alloc(200_000, 'n'))

interface Shown {
  Id: string
  RootFS: { Type: string; Layers: string[] }
}

/** The files of an archive, by name, as far as they came. */
function filesOf(tar: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (let at = 0; at + 512 <= tar.length; ) {
    const name = tar.toString('utf8', at, at + 100).replace(/\0.*$/s, '')
    if (name === '') break
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8)
    files.set(name, tar.subarray(at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

/**
 * An engine of the worst kind: of an archive that breaks off it keeps what came, under the image's name. `shown` is what stands there;
 * `loads` how often it was asked.
 */
export function openSmallEngine() {
  const held: { shown?: Shown; loads: number } = { loads: 0 }
  function keep(tar: Buffer): void {
    const files = filesOf(tar)
    const text = (name: string) => JSON.parse((files.get(name) ?? Buffer.from('{}')).toString('utf8'))
    const names = [...files.keys()]
    const torn = {
      Config: names.find((name) => name.endsWith('.json')),
      Layers: names.filter((name) => name.endsWith('.tar')),
    }
    const [first] = files.has('manifest.json') ? text('manifest.json') : [torn]
    if (first.Config === undefined) return
    const layers = (first.Layers as string[]).flatMap((name) => {
      const bytes = files.get(name)
      return bytes === undefined ? [] : [`sha256:${createHash('sha256').update(bytes).digest('hex')}`]
    })
    const { architecture, os, created, config } = text(first.Config)
    const rest = { Comment: '', Created: created, Config: config, Architecture: architecture, Os: os }
    const Id = `sha256:${String(first.Config).replace('.json', '')}`
    held.shown = { Id, ...rest, RootFS: { Type: 'layers', Layers: layers } }
  }
  const server = http.createServer((request, response) => {
    const parts: Buffer[] = []
    const isLoad = request.url?.includes('/images/load') === true
    if (isLoad) held.loads += 1
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('error', () => undefined)
    request.on('close', () => {
      if (isLoad && !request.complete) keep(Buffer.concat(parts))
    })
    request.on('end', () => {
      if (isLoad) keep(Buffer.concat(parts))
      const isShown = request.url?.includes('/json') === true
      response.statusCode = isShown && held.shown === undefined ? 404 : 200
      response.end(
        JSON.stringify(isShown ? (held.shown ?? {}) : isLoad ? {} : { ApiVersion: '1.41', MinAPIVersion: '1.12' }),
      )
    })
  })
  /** Whoever was killed is heard out. */
  async function settled(): Promise<void> {
    const open = () => new Promise<number>((done, fail) => server.getConnections((e, n) => (e ? fail(e) : done(n))))
    do await sleep(10)
    while ((await open()) > 0)
  }
  return { server, held, settled }
}
