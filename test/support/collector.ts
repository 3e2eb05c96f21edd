/** The OpenTelemetry Collector itself, with OTLP over HTTP in and text out (needs it: scripts/collector up). */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'

const SCRIPT = join(import.meta.dirname, '../../scripts/collector')

/** Where it is; undefined where it is not built. `must`: it is built first, and what keeps it from that is thrown. */
export function collectorTool(must: boolean): string | undefined {
  if (must) execFileSync(SCRIPT, ['up'], { stdio: ['ignore', 'ignore', 'inherit'] })
  try {
    return execFileSync(SCRIPT, ['path'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

/** A span as the collector shows it. */
export interface ShownSpan {
  name: string
  trace: string
  id: string
  parent: string
  status: string
  attributes: Record<string, string>
  /** Of who sent it. */
  resource: Record<string, string>
}

const attributesOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/^ +-> ([\w.]+): \w+\((.*)\)$/gm)].map(([, key = '', value = '']) => [key, value]),
  )

/** Reads what its debug exporter writes. Pure. */
export function readShown(text: string): ShownSpan[] {
  return text.split(/^ResourceSpans #\d+$/m).flatMap((part) => {
    const [head = '', ...spans] = part.split(/^Span #\d+$/m)
    return spans.map((span) => {
      const field = (name: string) => new RegExp(`^ +${name} *: (.*)$`, 'm').exec(span)?.[1]?.trim() ?? ''
      return {
        ...{ name: field('Name'), trace: field('Trace ID'), id: field('ID'), parent: field('Parent ID') },
        ...{ status: field('Status code'), attributes: attributesOf(span), resource: attributesOf(head) },
      }
    })
  })
}

export async function startCollector(tool: string) {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'otel-'))
  const file = join(folder, 'config.yaml')
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
    exporters: { debug: { verbosity: 'detailed', use_internal_logger: false } },
    service: {
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['debug'] } },
    },
  }
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(config))
  const server = spawn(tool, ['--config', `file:${file}`], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise((done) => server.once('exit', done))
  let [shown, said] = ['', '']
  server.stdout.on('data', (piece: Buffer) => {
    shown += piece
  })
  server.stderr.on('data', (piece: Buffer) => {
    said += piece
  })
  return {
    endpoint: `http://127.0.0.1:${port}`,
    isReady: () => said.includes('Everything is ready'),
    /** Its log. */
    said: () => said,
    spans: () => readShown(shown),
    async [Symbol.asyncDispose]() {
      server.kill('SIGKILL')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
