/** A registry of npm on loopback with three small packages, one of which wants its install script; in a thread of its own, because installs run synchronously. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { gzipSync } from 'node:zlib'
import { vi } from 'vitest'
import { tarOf } from '../../scripts/images/tar.ts'

const integrity = (bytes: Buffer) => `sha512-${createHash('sha512').update(bytes).digest('base64')}`
/** A package of npm with these fields and files. */
function packed(manifest: object, files: Record<string, string>): Buffer {
  const all = { 'package.json': JSON.stringify(manifest), ...files }
  const entries = Object.entries(all).map(([path, text]) => ({
    path: `package/${path}`,
    kind: 'file' as const,
    mode: 0o644,
    data: Buffer.from(text),
  }))
  return gzipSync(Buffer.concat([...tarOf(entries)]))
}
/** The file that the script would make in the folder that `INSTALLED_MARK` names. */
export const MARK = 'scripted-ran'
const PACKAGES = [
  { name: 'small', version: '1.2.3', dependencies: { below: '^1.0.0' }, bin: { 'small-tool': 'cli.js' } },
  { name: 'below', version: '1.0.1' },
  { name: 'platform', version: '3.0.0', optionalDependencies: { below: '1.0.1', 'platform-elsewhere': '3.0.0' } },
  { name: 'scripted', version: '2.0.0', scripts: { postinstall: `touch "$INSTALLED_MARK/${MARK}"` } },
]

/** Also tells npm, by its environment, to use it and no file of whoever runs this; `folder` is for its cache and the mark. */
export async function openRegistry(folder: string): Promise<{ worker: Worker; url: string }> {
  const files = PACKAGES.map((manifest) => ({
    manifest,
    tgz: packed(manifest, { 'cli.js': '#!/usr/bin/env node\nconsole.log(1)\n', 'index.js': 'export default 1\n' }),
  }))
  const table = files.map(({ manifest, tgz }) => ({ manifest, tgz: tgz.toString('base64'), integrity: integrity(tgz) }))
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    const server = require('node:http').createServer((request, response) => {
      const own = workerData.find(({ manifest }) => request.url === '/' + manifest.name || request.url === '/-/' + manifest.name + '.tgz')
      if (own === undefined) { response.statusCode = 404; return response.end('{}') }
      if (request.url.endsWith('.tgz')) return response.end(Buffer.from(own.tgz, 'base64'))
      const { name, version, scripts } = own.manifest
      const dist = { integrity: own.integrity, tarball: 'http://127.0.0.1:' + server.address().port + '/-/' + name + '.tgz' }
      const versions = { [version]: { ...own.manifest, dist, ...(scripts ? { hasInstallScript: true } : {}) } }
      response.end(JSON.stringify({ name, 'dist-tags': { latest: version }, versions }))
    }).listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`
  const worker = new Worker(code, { eval: true, workerData: table })
  const port = await new Promise<number>((resolve) => worker.once('message', resolve))
  const url = `http://127.0.0.1:${port}/`
  for (const [key, value] of Object.entries({
    ...{ registry: url, cache: join(folder, 'npm-cache'), fetch_retries: '0' },
    ...{ userconfig: '/dev/null', globalconfig: join(folder, 'no-npmrc') },
    // Whoever lets scripts run: here none does.
    ignore_scripts: 'false',
  }))
    vi.stubEnv(`npm_config_${key}`, value)
  vi.stubEnv('INSTALLED_MARK', folder)
  return { worker, url }
}
