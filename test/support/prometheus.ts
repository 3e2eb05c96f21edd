/** Debian's Prometheus, reading one hub (needs it: scripts/observe/prometheus up). */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'

const SCRIPT = join(import.meta.dirname, '../../scripts/observe/prometheus')

/** The folder that holds `prometheus` and `promtool`; undefined where there are none. */
export function prometheusTools(): string | undefined {
  try {
    return execFileSync(SCRIPT, ['path'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

/** Starts one that asks the hub at this port five times a second. `rules`: a file of alert rules; `flags`: more words for its command line. */
export async function startPrometheus(options: { tools: string; port: number; rules?: string; flags?: string[] }) {
  const { tools, port, rules, flags = [] } = options
  const web = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'prom-'))
  const file = join(folder, 'prometheus.yml')
  const config = {
    scrape_configs: [
      { job_name: 'hub', scrape_interval: '200ms', static_configs: [{ targets: [`127.0.0.1:${port}`] }] },
    ],
    rule_files: rules === undefined ? [] : [rules],
    global: { evaluation_interval: '200ms' },
  }
  writeFileSync(file, JSON.stringify(config))
  const words = ['--config.file', file, '--storage.tsdb.path', join(folder, 'data')]
  const server = spawn(join(tools, 'prometheus'), [...words, '--web.listen-address', `127.0.0.1:${web}`, ...flags], {
    stdio: 'ignore',
  })
  const ended = new Promise((done) => server.once('exit', done))
  return {
    /** Asks its HTTP API. */
    api: async <Data>(path: string) =>
      (await (await fetch(`http://127.0.0.1:${web}${path}`)).json()) as { status: string; data: Data },
    async [Symbol.asyncDispose]() {
      server.kill('SIGKILL')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
