/** Artifacts over an agent's socket: streamed in and out, never held whole in memory (S1-68). */
import type { ServerResponse } from 'node:http'
import { sha256Hex } from '../../base/canonical.ts'
import type { Gate } from '../../guard/gate.ts'
import { classFact } from '../../protocol/data-class.ts'
import { sha256Shape } from '../../protocol/ids.ts'
import { OPERATIONS } from '../../protocol/operations.ts'
import { parseShape } from '../../protocol/parse.ts'
import type { Artifacts } from '../../work/artifacts.ts'
import { lateOwner } from '../../work/dispatch/late.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import { readRange, requireContentType, sendJson } from '../http-answers.ts'
import type { AgentExchange, ByToken, OwnCall } from './requests.ts'

const EMPTY_SHA256 = sha256Hex('')

export function agentArtifacts(
  parts: { gate: Gate; artifacts: Artifacts; tasks: Tasks; artifactBytesMax: () => number },
  { byToken, byTokenOrLate }: { byToken: ByToken; byTokenOrLate: ByToken },
  own: OwnCall,
) {
  const { gate, artifacts, tasks } = parts

  async function put(exchange: AgentExchange): Promise<void> {
    requireContentType(exchange.request, 'application/octet-stream')
    const sha256 = parseShape(sha256Shape, exchange.url.pathname.split('/').pop(), 'sha256')
    // The digest in the path was signed. The bytes are checked against it as they arrive.
    const caller = await byTokenOrLate(exchange, sha256)
    const { session } = caller
    const {
      name = sha256,
      dataClass,
      unfinished,
    } = parseShape(OPERATIONS['artifact.put'].request, {
      ...Object.fromEntries(exchange.url.searchParams),
      sha256,
    })
    const arrived = await artifacts.receive(exchange.request, sha256, parts.artifactBytesMax())
    try {
      const view = gate.admit(own(exchange, 'artifact.put', caller, { own: true, ...classFact(dataClass) }), (grant) =>
        artifacts.put(grant, arrived, {
          ...{
            owner: session.state === 'recycling' ? lateOwner(session.id) : session.task,
            name,
            session: session.id,
            dataClass,
            unfinished,
          },
          totalBytesMax: parts.artifactBytesMax(),
        }),
      )
      sendJson(exchange.response, 200, view)
    } finally {
      artifacts.discard(arrived)
    }
  }

  async function get(exchange: AgentExchange): Promise<void> {
    const caller = await byToken(exchange, EMPTY_SHA256)
    const sha256 = parseShape(sha256Shape, exchange.url.pathname.split('/').pop(), 'sha256')
    const task = tasks.task(caller.session.task)
    const access = task === undefined ? 'none' : artifacts.access(task, sha256)
    const size = artifacts.find(sha256)?.size ?? 0
    const range = access === 'none' ? undefined : readRange(exchange.request.headers.range, size)
    // Checked before any byte is answered. Whoever may not have it is told only that.
    if (access !== 'none') await artifacts.verify(sha256)
    const opened = gate.admit(
      {
        ...own(exchange, 'artifact.get', caller, {
          ...{ own: access === 'own', inherited: access === 'inherited' },
          ...(access === 'none' ? {} : classFact(artifacts.classOf(sha256))),
        }),
        resource: `artifact:${sha256}`,
      },
      () => artifacts.read(sha256, range),
    )
    streamArtifact(exchange.response, opened.stream, opened.size, range)
  }

  async function list(exchange: AgentExchange): Promise<void> {
    const caller = await byToken(exchange, EMPTY_SHA256)
    const { task } = caller.session
    const all = gate.admit(own(exchange, 'artifact.list', caller, { own: true }), () =>
      [task, ...tasks.children(task).map((child) => child.id)].flatMap((owner) =>
        artifacts.list(owner).map((row) => ({ ...row, task: owner })),
      ),
    )
    sendJson(exchange.response, 200, { artifacts: all })
  }

  return { put, get, list }
}

/** Streams bytes with their length. If the reader goes away, the file stream ends too. */
export function streamArtifact(
  response: ServerResponse,
  stream: NodeJS.ReadableStream,
  size: number,
  range: { start: number; end: number } | undefined,
): void {
  const length = range === undefined ? size : range.end - range.start + 1
  const partial = range === undefined ? {} : { 'content-range': `bytes ${range.start}-${range.end}/${size}` }
  response.writeHead(range === undefined ? 200 : 206, {
    'content-type': 'application/octet-stream',
    'content-length': length,
    'cache-control': 'no-store',
    ...partial,
  })
  stream.on('error', () => response.destroy())
  response.on('close', () => (stream as { destroy?: () => void }).destroy?.())
  stream.pipe(response)
}
