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

export const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

/** The one-time field in a stop page's form; '' where there is none. */
export const onceOf = (html: string): string => /name="once" value="([0-9a-f]{64})"/.exec(html)?.[1] ?? ''

/** Presses the button of a stop page as a browser does: with the one-time field of a page that it was shown. */
export async function pressWith(
  ask: (method: string, path: string, headers?: Record<string, string>, body?: string) => Promise<Said>,
  path: string,
  headers: Record<string, string> = {},
  fields: Record<string, string> = {},
): Promise<Said> {
  const once = onceOf((await ask('GET', '/stop')).text)
  return ask('POST', path, { ...FORM, ...headers }, new URLSearchParams({ ...fields, once }).toString())
}

/** The same over a real port. */
export const press = (port: number, path: string): Promise<Said> =>
  pressWith(
    (method, at, headers = {}, body) =>
      send(port, { method, path: at, headers, ...(body === undefined ? {} : { body }) }),
    path,
  )
