/**
 * One client of MCP on a stream, a JSON object a line. Nothing it sends or leaves unread makes the shim hold more than a few MiB for it:
 *
 * 1. A line has at most 1 MiB. One that is longer, a batch, or no JSON-RPC message is answered with an error, and the next line counts.
 * 2. While 64 of its requests are unanswered, or 1 MiB of answers is unread, no line of it is read.
 */
import type { Socket } from 'node:net'
import {
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResponse,
  type JSONRPCMessage,
  parseJSONRPCMessage,
  serializeMessage,
  type Transport,
} from '@modelcontextprotocol/server'
import { parseStrictJson } from '../../../hub/base/strict-json.ts'
import { createLineSplitter, type Line } from '../lines.ts'

export const LINE_MAX = 1024 ** 2
const UNREAD_MAX = 1024 ** 2
const OPEN_MAX = 64
const INVALID = { text: -32_700, message: -32_600 }

/** The message of a line, or the error that answers it. */
function readLine({ bytes, tooLong }: Line): JSONRPCMessage | { code: number; message: string } {
  if (tooLong !== undefined)
    return { code: INVALID.message, message: `a line of ${tooLong} bytes; ${LINE_MAX} at most` }
  let value: unknown
  try {
    value = parseStrictJson(bytes)
  } catch (thrown) {
    return { code: INVALID.text, message: (thrown as Error).message }
  }
  if (Array.isArray(value)) return { code: INVALID.message, message: 'a batch; send one message a line' }
  try {
    return parseJSONRPCMessage(value)
  } catch {
    return { code: INVALID.message, message: 'not a message of JSON-RPC 2.0' }
  }
}

export function createLineTransport(stream: Socket): Transport {
  const splitter = createLineSplitter(LINE_MAX)
  const open = new Set<unknown>()
  const transport: Transport = { start, send, close }
  let lines: Line[] = []
  let isPumping = false

  const write = (text: string) => {
    if (!stream.destroyed && stream.writable) stream.write(text)
  }
  const isFull = () => open.size >= OPEN_MAX || stream.writableLength > UNREAD_MAX

  function take(line: Line): void {
    if (line.bytes.length === 0) return
    const read = readLine(line)
    if ('code' in read) {
      write(`${JSON.stringify({ jsonrpc: '2.0', id: null, error: read })}\n`)
      return
    }
    if (isJSONRPCRequest(read)) open.add(read.id)
    // What was cancelled is not answered any more.
    else if (isJSONRPCNotification(read) && read.method === 'notifications/cancelled')
      open.delete(read.params?.requestId)
    transport.onmessage?.(read)
  }
  function pump(): void {
    if (isPumping) return
    isPumping = true
    let taken = 0
    for (const line of lines) {
      if (isFull()) break
      taken += 1
      take(line)
    }
    lines = lines.slice(taken)
    isPumping = false
    if (lines.length === 0) stream.resume()
    else stream.pause()
  }

  async function start(): Promise<void> {
    stream.on('data', (chunk: Buffer) => {
      lines.push(...splitter.push(chunk))
      pump()
    })
    stream.on('drain', pump)
    // It says no more, and hears nothing either.
    stream.on('end', close)
    stream.on('close', () => transport.onclose?.())
    stream.on('error', () => {})
  }
  async function send(message: JSONRPCMessage): Promise<void> {
    if (isJSONRPCResponse(message)) open.delete(message.id)
    write(serializeMessage(message))
    pump()
  }
  async function close(): Promise<void> {
    stream.destroySoon()
  }
  return transport
}
