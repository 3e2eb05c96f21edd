/**
 * `/console` on the loopback listener: the page's few files, and the exchange of a one-time link's code for the page's bearer (S0-50, T33).
 *
 * R1. The files are a fixed list, read once at start. Nothing of a request ever becomes a path. GET and HEAD only. The page holds no
 *     secret.
 * R2. Only this machine's own names lead here, never those of `reach`.
 * R3. The page runs only its own scripts, asks only its own origin, and may not be put into a frame.
 * R4. The code comes in a JSON body. Wrong, used and expired ones get the same answer, slowed and recorded. A right one never waits (T16,
 *     T17).
 */
import { readFileSync } from 'node:fs'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import type { ConsoleLinks, ConsoleWish } from '../../guard/identity/console-links.ts'
import { type Credentials, principalOf } from '../../guard/identity/credentials.ts'
import type { Principal } from '../../guard/principal.ts'
import type { Answer } from '../../protocol/answers.ts'
import { OPERATIONS } from '../../protocol/operations.ts'
import { parseShape } from '../../protocol/parse.ts'
import type { LoopbackPlugin } from './loopback.ts'
import { BEARER_TRIES, createWrongTries, refuseWrong } from './wrong-tries.ts'

const CHECKOUT = new URL('../../../', import.meta.url)
const PAGE = 'hub/client/console'
/** Address and file of each, seen from the checkout. The two packages are served as installed, with the digests of the lock file. */
const FILES = [
  ['/console', `${PAGE}/index.html`],
  ['/console/console.css', `${PAGE}/console.css`],
  ...[
    'console',
    'html',
    'line',
    'model',
    'pieces',
    'view',
    'view-money',
    'view-presence',
    'view-stop',
    'view-task',
    'view-work',
    'words',
  ].map((name) => [`/console/${name}.js`, `${PAGE}/${name}.js`] as const),
  ['/console/preact.js', 'node_modules/preact/dist/preact.mjs'],
  ['/console/htm.js', 'node_modules/htm/dist/htm.mjs'],
] as const
const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
}
const HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'x-robots-tag': 'noindex, nofollow',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

export interface ConsoleFile {
  path: string
  type: string
  body: Buffer
}

/** The page's files, read once. None if one cannot be read: a hub without a page can still watch and stop. */
export function readConsoleFiles(log: Log, root = CHECKOUT): ConsoleFile[] {
  try {
    return FILES.map(([path, file]) => ({
      path,
      type: TYPES[path === '/console' ? 'html' : (path.split('.').at(-1) ?? '')] ?? 'text/plain',
      body: readFileSync(new URL(file, root)),
    }))
  } catch (thrown) {
    log.warn({ reason: (thrown as Error).message }, 'the console page is not served; in the checkout run: npm ci')
    return []
  }
}

const NOBODY: Principal = Object.freeze({ kind: 'device', id: 'unknown' })

export function consolePage(parts: {
  files: readonly ConsoleFile[]
  links: ConsoleLinks
  credentials: Credentials
  gate: Gate
  clock: Clock
  nowMs: () => number
}): LoopbackPlugin {
  const { files, links, credentials, gate, clock, nowMs } = parts
  const tries = createWrongTries(BEARER_TRIES, clock)

  /** What the operator asked for becomes a credential, recorded under its name. Only then is the link spent. */
  function join(wish: ConsoleWish): Answer<'console.join'> {
    const { name, rights, expiresInMs } = wish
    const wanted = { name, kind: 'console' as const, scope: rights, expiresAtMs: nowMs() + expiresInMs }
    const call = {
      principal: principalOf({ ...wanted, id: null }),
      operation: 'console.join',
      resource: `device:${name}`,
    } as const
    const { secret } = gate.admit(call, (grant) => credentials.add(grant, wanted))
    links.spend(wish)
    return { name, rights, expiresAtMs: wanted.expiresAtMs, secret }
  }

  return {
    path: '/console',
    isLocal: true,
    mount: (app) =>
      void app.register(async (scope) => {
        for (const { path, type, body } of files) {
          scope.route({
            method: ['GET', 'HEAD'],
            url: path,
            handler: (_request, reply) => reply.headers(HEADERS).type(type).send(body),
          })
        }
        if (files.length === 0)
          scope.get('/console', () => {
            throw new HubError('unknown_operation', 'the console page is missing; in the checkout run: npm ci')
          })
        scope.post('/console/session', (request) => {
          const { code } = parseShape(OPERATIONS['console.join'].request, request.body)
          const wish = links.find(code)
          if (wish !== undefined) return Promise.resolve(join(wish))
          const call = { principal: NOBODY, operation: 'console.join', resource: 'console' } as const
          return refuseWrong({ gate, tries }, call, 'no valid link has this code')
        })
      }),
  }
}
