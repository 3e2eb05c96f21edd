/** One plain HTTP exchange with a loopback port, its Host and path spelled exactly as given. */
import { request } from 'node:http'

export interface Said {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

export function send(
  port: number,
  {
    method = 'GET',
    path,
    headers = {},
    body,
  }: {
    method?: string
    path: string
    headers?: Record<string, string>
    body?: string
  },
): Promise<Said> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      method,
      path,
      agent: false,
      headers,
      setHost: headers.host === undefined,
    }
    const sent = request(options, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        text += part
      })
      answer.on('error', reject)
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
