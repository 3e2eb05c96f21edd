/** What every way of answering an agent needs: headers, masks, and a reader that need not be as fast as the upstream. */
import type { ServerResponse } from 'node:http'
import { type HubError, toHubError } from '../../base/errors.ts'
import type { OutwardAnswer } from '../../guard/outward/exchange.ts'
import { passAnswerHeaders } from '../../work/egress/wire.ts'
import { createBlocks } from './bodies.ts'
import type { LeakScan } from './leak-scan.ts'
import type { EgressExchange } from './ports.ts'

/** So many bytes may wait for one reader. */
export const AHEAD_BYTES_MAX = 512 * 1024

/** The value of the first header of this name, in small letters. */
export const headerOf = (rawHeaders: readonly string[], name: string): string | undefined => {
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase() === name) return rawHeaders[at + 1]
  return undefined
}

/** The whole of something that is sent at once, masked. */
export function scanned(whole: Buffer, scan: LeakScan): Buffer {
  const parts = [...scan.pass(whole), scan.rest()].filter(({ length }) => length > 0)
  const [only] = parts
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts)
}

/** What passes of the headers, each value masked by itself. */
export const safeHeaders = ({ rawHeaders }: Pick<OutwardAnswer, 'rawHeaders'>, scan: LeakScan): [string, string][] =>
  passAnswerHeaders(rawHeaders).map(([name, value]) => [name, scanned(Buffer.from(value), scan).toString()])

/** The whole of an answer. */
export function respond(
  { request, response }: EgressExchange,
  status: number,
  headers: readonly (readonly [string, string])[],
  body: Buffer,
): void {
  if (response.destroyed) return
  response.writeHead(status, [...headers, ['content-length', String(body.length)] as const].flat())
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** Resolves when the agent takes more, or has left. */
export const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const on = () => {
      response.off('drain', on)
      response.off('close', on)
      resolve()
    }
    response.on('drain', on)
    response.on('close', on)
  })

/** The first bytes of an answer. Throws if it broke off before that, unless a part is enough. `share`: takes each piece, or throws. */
export async function readFirst(
  answer: OutwardAnswer,
  most: number,
  isPartEnough: boolean,
  share?: { take(bytes: number): void },
): Promise<Buffer> {
  const blocks = createBlocks()
  let bytes = 0
  let full: HubError | undefined
  try {
    await answer.read((piece) => {
      const part = piece.subarray(0, most - bytes)
      try {
        share?.take(part.length)
      } catch (thrown) {
        full = toHubError(thrown)
        answer.cut()
        return undefined
      }
      bytes += part.length
      blocks.add(part)
      if (bytes === most) answer.cut()
      return undefined
    })
  } catch (thrown) {
    if (full !== undefined) throw full
    if (bytes < most && !isPartEnough) throw thrown
  }
  return blocks.whole()
}
