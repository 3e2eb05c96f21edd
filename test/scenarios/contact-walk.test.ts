/** T18: the card, tried at every door, path, method and place of a request. Exactly one route takes it, and that one stops. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CONTACT } from '../../hub/guard/principal.ts'
import { OPERATIONS, type Operation, type OperationName } from '../../hub/protocol/operations.ts'
import { ROUTES } from '../../hub/protocol/routes.ts'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { ROUTES as WATCHDOG_ROUTES } from '../../watchdog/door/routes.ts'
import { freePort } from '../support/free-port.ts'
import { openGuardHome } from '../support/guard-home.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'
import { FORM, onceOf, type Said, send } from '../support/plain-http.ts'
import { cardOf, scene as openScene, WORDS } from '../support/stop-scene.ts'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND']
const JSON_TYPE = { 'content-type': 'application/json' }

interface Try {
  method: string
  path: string
  headers?: Record<string, string>
  body?: string
}
const rows = Object.entries(OPERATIONS) as [OperationName, Operation][]
const paths = Object.values(ROUTES).map(({ path }) => path)
const OTHERS = [
  '/',
  '/healthz',
  '/metrics',
  '/console',
  '/console/session',
  '/hook/x',
  '/v1',
  '/v1/contact',
  '/v1/stop',
  '/v1/lease',
  '/v1/away',
  '/index.html',
]

/** Each form and each bare POST carries a one-time field that is good: what is refused is refused for its words (fault C30). */
function armed(plain: (one: Try) => Promise<Said>) {
  let once = ''
  return {
    async ask(one: Try): Promise<Said> {
      const type = one.headers?.['content-type']
      if (one.method !== 'POST' || (type !== undefined && type !== FORM['content-type'])) return plain(one)
      if (once === '') once = onceOf((await plain({ method: 'GET', path: '/stop' })).text)
      const body = [one.body ?? '', `once=${once}`].filter((part) => part !== '').join('&')
      return plain({ ...one, headers: { ...FORM, ...one.headers }, body })
    },
    /** For the next press: the one before is used up. */
    again() {
      once = ''
    },
  }
}

/** Every place of a request that could carry the words, for one path and method. */
function carriers(method: string, path: string, words: string): Try[] {
  const filled = path.replace(/:\w+/g, words)
  const posts = method === 'POST' || method === 'PUT'
  const header = (headers: Record<string, string>): Try => ({
    method,
    path: filled,
    headers: { ...headers, ...(posts ? JSON_TYPE : {}) },
    ...(posts ? { body: '{}' } : {}),
  })
  return [
    header({ authorization: `Bearer ${words}` }),
    header({ authorization: `bearer ${words.replaceAll('-', ' ').toUpperCase()}` }),
    header({ authorization: words }),
    header({ cookie: `words=${words}; session=${words}` }),
    header({ 'hub-token': words, 'x-api-key': words, 'x-hub-contact': words }),
    header({
      'x-original-url': `/stop/${words}`,
      'x-rewrite-url': `/stop/${words}`,
      'x-forwarded-path': `/stop/${words}`,
    }),
    { method, path: `${filled}?words=${words}&credential=${words}` },
    { method, path: `${filled}/${words}` },
    ...(posts
      ? [
          { method, path: filled, headers: JSON_TYPE, body: JSON.stringify({ words, credential: words, card: words }) },
          { method, path: filled, headers: FORM, body: `words=${words}` },
        ]
      : []),
  ]
}
/** Other spellings of the one route, and other methods on it. */
function spellings(words: string): Try[] {
  const [first = ''] = words
  const hex = first.charCodeAt(0).toString(16)
  const odd = [
    `/Stop/${words}`,
    `/STOP/${words}`,
    `/stop/${words.toUpperCase()}`,
    `/stop/${words}/`,
    `/stop//${words}`,
    `//stop/${words}`,
    `/stop/%${hex}${words.slice(1)}`,
    `/%73top/${words}`,
    `/stop%2f${words}`,
    `/stop/${words.replaceAll('-', '%2d')}`,
    `/stop/${words.replaceAll('-', '%20')}`,
    `/stop/${words.replaceAll('-', '_')}`,
    `/stop/./${words}`,
    `/stop/../stop/${words}`,
    `/x/../stop/${words}`,
    `/stop/${words}%00`,
    `/stop/${words};x`,
    `/stop/${words}.html`,
    `/stop/${words}%20`,
    `/stop.${words}`,
    `/v1/stop/${words}`,
    `/api/stop/${words}`,
    `/stop/stop/${words}`,
    '/stop/',
    '/stop/words',
  ]
  return [
    ...odd.map((path) => ({ method: 'POST', path, headers: FORM, body: `words=x` })),
    ...METHODS.filter((method) => method !== 'POST').map((method) => ({ method, path: `/stop/${words}` })),
    {
      method: 'GET',
      path: `/stop/${words}`,
      headers: { 'x-http-method-override': 'POST', 'x-http-method': 'POST', 'x-method-override': 'POST' },
    },
    { method: 'GET', path: `/stop/${words}?_method=POST` },
    { method: 'POST', path: `/stop/${words}`, headers: JSON_TYPE, body: '{}' },
    { method: 'POST', path: `/stop/${words}`, headers: { 'content-type': 'text/plain' }, body: 'x' },
    { method: 'POST', path: `/stop/${words}`, headers: { origin: 'https://evil.example' } },
    { method: 'POST', path: `/stop/${words}`, headers: { host: 'evil.example' } },
    { method: 'POST', path: `/stop/${words}`, headers: { 'sec-purpose': 'prefetch' } },
    { method: 'POST', path: '/stop', headers: { ...FORM, authorization: `Bearer ${words}` }, body: '' },
    { method: 'POST', path: '/stop', headers: FORM, body: `word=${words}&credential=${words}` },
    { method: 'POST', path: `/stop?words=${words}`, headers: FORM, body: '' },
  ]
}
/** What may be shown to anybody: pages that change nothing and hold nothing, and health. */
function isHarmless({ method, path, headers = {} }: Try, said: Said): boolean {
  const looks = ['GET', 'HEAD'].includes(method)
  if (said.headers['hub-stop'] !== undefined) return looks || headers['sec-purpose'] !== undefined
  return looks && /^\/(healthz|metrics|hook\/x|console)(\?|$)/.test(path)
}

/** Tries all of them, some at once; answers those that were not refused and are not harmless. */
async function walk(tries: readonly Try[], ask: (one: Try) => Promise<Said>): Promise<string[]> {
  const taken: string[] = []
  for (let at = 0; at < tries.length; at += 32) {
    const batch = tries.slice(at, at + 32)
    const answers = await Promise.all(batch.map((one) => ask(one)))
    for (const [index, said] of answers.entries()) {
      const one = batch[index] as Try
      if (said.status < 400 && !isHarmless(one, said))
        taken.push(`${one.method} ${one.path} ${JSON.stringify(one.headers)} ${said.status}`)
    }
  }
  return taken
}
const refusedAs = (thrown: () => unknown): string => {
  try {
    thrown()
    return 'allowed'
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
}

describe('the card and the rules (T18)', () => {
  test('of every operation the built-in rule and the policy each refuse the contact all but one [contact-19]', () => {
    using home = openGuardHome()
    const { gate, decisions, modes } = home.guard
    const facts = { principal: CONTACT, resource: 'x' } as const
    const builtIn = rows.filter(([operation, { standing }]) => {
      const call = { ...facts, operation }
      return (
        refusedAs(() => (standing === 'stop' ? gate.admitStop(call, () => 1) : gate.admit(call, () => 1))) !==
        'forbidden'
      )
    })
    expect(builtIn.map(([name]) => name)).toEqual(['hub.shutdown'])
    const byPolicy = rows.filter(
      ([operation]) =>
        decisions.decide({ operation, principal: CONTACT, resource: {}, mode: modes.current() }).effect !== 'deny',
    )
    expect(byPolicy.map(([name]) => name)).toEqual(['hub.shutdown'])
  })
})

describe('the card at the hub (T18)', () => {
  test('over loopback exactly one route takes it, whatever the mode; as a bearer it is 403 everywhere [contact-19]', async () => {
    const port = await freePort()
    await using h = await createHarness({ agents: { a: { script: puppet } }, config: { http: { port } } })
    await h.bring('a')
    const { body } = await h.operator('POST', '/v1/contact/card', { name: 'Bea', operator: 'Ada' })
    const words = String(body.words)
    const plain = (one: Try) => h.pumped(send(port, { ...one, headers: one.headers ?? {} }), 1)
    const { ask, again } = armed(plain)
    const tries = [
      ...[...paths, ...OTHERS].flatMap((path) => ['GET', 'POST'].flatMap((method) => carriers(method, path, words))),
      ...paths.flatMap((path) =>
        METHODS.map((method) => ({
          method,
          path: path.replace(/:\w+/g, words),
          headers: { authorization: `Bearer ${words}` },
        })),
      ),
      ...spellings(words),
    ]
    expect(tries.length).toBeGreaterThan(1000)
    expect(await walk(tries, ask)).toEqual([])
    for (const path of paths) {
      for (const method of ['GET', 'POST']) {
        const said = await ask({
          method,
          path: path.replace(/:\w+/g, words),
          headers: { authorization: `Bearer ${words}` },
        })
        expect(said.status, `${method} ${path}`).toBe(403)
      }
    }
    const done = () => h.audit().filter(({ principal, outcome }) => principal.startsWith('contact') && outcome === 'ok')
    expect([done(), h.engine.containers.size, h.hub.guard.modes.has('emergency_stop')]).toEqual([[], 1, false])

    // A stop is permitted in every mode.
    h.hub.guard.modes.raise('operator_request', 'test')
    h.hub.guard.modes.raise('disk_low', 'test')
    const said = await ask({ method: 'POST', path: `/stop/${words}`, headers: FORM, body: 'stop=1' })
    expect(said.status).toBe(200)
    await h.until(() => h.engine.containers.size === 0)
    expect(done()).toMatchObject([{ principal: 'contact', action: 'hub.shutdown_asked' }])
    // It cannot undo what it did, nor read anything of it.
    again()
    expect(
      await walk(
        [...spellings(words), ...tries.filter(({ method, headers }) => method === 'POST' && headers?.authorization)],
        ask,
      ),
    ).toEqual([])
    expect(h.hub.guard.modes.has('emergency_stop')).toBe(true)
    expect(done().filter(({ effect }) => !effect.includes('already'))).toHaveLength(1)
  })

  test('the sockets are closed to every other account, and to the card as well [contact-19]', async () => {
    await using h = await createHarness({ agents: { a: { script: puppet } } })
    const { body } = await h.operator('POST', '/v1/contact/card', { name: 'Bea', operator: 'Ada' })
    const words = String(body.words)
    for (const path of [...paths, '/healthz', '/stop', `/stop/${words}`]) {
      for (const method of ['GET', 'POST'] as const) {
        const filled = path.replace(/:\w+/g, words)
        const said = await h.operator(method, filled, undefined, { authorization: `Bearer ${words}` })
        expect(said.status, `${method} ${path}`).toBe(403)
      }
    }
    for (const path of ['/stop', `/stop/${words}`]) expect((await h.operator('POST', path, {})).status).toBe(404)
    for (const path of paths) {
      const { status } = await h.operator('POST', path.replace(/:\w+/g, words), { words, credential: words })
      expect(status, path).toBeGreaterThanOrEqual(400)
    }
    expect(h.hub.guard.modes.has('draining')).toBe(false)
    if (process.getuid?.() !== 0) return
    for (const socket of ['operator.sock', 'watchdog.sock']) {
      const program = `require('node:net').connect(process.argv[1]).on('connect', () => console.log('in')).on('error', (e) => console.log(e.code))`
      const { stdout } = spawnSync(process.execPath, ['-e', program, join(h.home, 'run', socket)], {
        uid: 65534,
        gid: 65534,
        encoding: 'utf8',
        cwd: '/',
        timeout: 120_000,
      })
      // Where that account may not even run Node the socket is no nearer to it.
      expect(stdout ?? '').not.toContain('in\n')
    }
  })
})

describe('the card at the watchdog (T18)', () => {
  test('over loopback exactly one route takes it, over the socket none [contact-20]', async () => {
    const s = await openScene()
    try {
      await s.contact({ action: 'set', ...cardOf(WORDS) })
      const { ask, again } = armed((one: Try) => send(s.port, { ...one, headers: one.headers ?? {} }))
      const routes = Object.keys(WATCHDOG_ROUTES).map((route) => route.split(' ')[1] ?? '')
      const tries = [
        ...[...routes, ...OTHERS].flatMap((path) => METHODS.flatMap((method) => carriers(method, path, WORDS))),
        ...spellings(WORDS),
      ]
      expect(await walk(tries, ask)).toEqual([])
      for (const route of Object.keys(WATCHDOG_ROUTES)) {
        const [method = '', path = ''] = route.split(' ')
        const call = {
          socketPath: s.paths.socket,
          method: method as 'GET' | 'POST',
          path,
          deadlineMs: 60_000,
          bytesMax: 1e5,
        }
        const bearer = await exchange(createSystemClock(), { ...call, headers: { authorization: `Bearer ${WORDS}` } })
        expect(bearer.status, route).toBe(403)
        if (method !== 'POST') continue
        const inBody = await exchange(createSystemClock(), { ...call, body: JSON.stringify({ words: WORDS }) })
        expect(inBody.status, route).toBeGreaterThanOrEqual(400)
      }
      expect(s.stops).toEqual([])
      expect((await ask({ method: 'POST', path: `/stop/${WORDS}`, headers: FORM, body: '' })).status).toBe(200)
      expect(s.stops).toHaveLength(1)
      s.finish()
      again()
      await expect
        .poll(async () => (await ask({ method: 'GET', path: `/stop/${WORDS}` })).headers['hub-stop'])
        .toBe('stopped 12 12')
      expect(
        await walk(
          tries.filter(({ method }) => method === 'POST'),
          ask,
        ),
      ).toEqual([])
      expect(s.stops).toHaveLength(1)
    } finally {
      s.close()
    }
  })
})
