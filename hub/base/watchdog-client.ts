/** The few words the hub says to the watchdog's own door: heartbeats and announcements. The watchdog owns the operator's clock. */
import { HubError } from './errors.ts'
import { http } from './node-http.ts'

const TIMEOUT_MS = 5000
/** It waits for every channel, 12 s at most. */
const ALERT_TEST_MS = 15_000
const ANSWER_BYTES_MAX = 65_536

/** The reason that the watchdog gives, or the answer as it is. */
function refusalIn(answer: string): string {
  try {
    const { error } = JSON.parse(answer) as { error?: unknown }
    return typeof error === 'string' ? error : answer
  } catch {
    return answer
  }
}

/** One request to the watchdog's Unix socket; throws `timed_out` with what to do when nobody answers. */
export function askWatchdog(
  socketPath: string,
  path: string,
  body: unknown,
  method: 'GET' | 'POST' = 'POST',
): Promise<unknown> {
  const text = method === 'GET' ? '' : JSON.stringify(body)
  const away = (why: string) =>
    new HubError('timed_out', `the watchdog did not answer (${why}); start it with \`hub up\``)
  return new Promise((resolve, reject) => {
    const sent = http.request(
      {
        socketPath,
        path,
        method,
        timeout: path === '/v1/alert-test' ? ALERT_TEST_MS : TIMEOUT_MS,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
      (response) => {
        const chunks: Buffer[] = []
        let size = 0
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > ANSWER_BYTES_MAX) sent.destroy(new Error('its answer is too long'))
          chunks.push(chunk)
        })
        response.on('end', () => {
          const answer = Buffer.concat(chunks).toString('utf8')
          if (response.statusCode !== 200)
            return reject(new HubError('conflict', `the watchdog refused: ${refusalIn(answer).slice(0, 300)}`))
          try {
            resolve(JSON.parse(answer))
          } catch {
            reject(away('its answer is not JSON'))
          }
        })
      },
    )
    sent.on('timeout', () => sent.destroy(new Error('it took too long')))
    sent.on('error', (error) => reject(away(error.message)))
    sent.end(text)
  })
}
