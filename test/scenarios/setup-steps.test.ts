/** `hub setup` from its first question to its last: interrupted at each, refused at each; and what follows them, `--systemd` and `--rehearse`. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createContext } from '../../hub/client/cli/context.ts'
import { type Machine, runSetup } from '../../hub/client/cli/setup/setup.ts'
import type { Ask } from '../../hub/client/cli/setup/setup-answers.ts'
import type { Connection } from '../../hub/client/connection.ts'
import { judgeConfig } from '../../hub/config.ts'
import { judgeText } from '../../watchdog/config/file.ts'
import { openFakeSystemd } from '../support/fake-systemd.ts'
import { fakeContext, fakeTerminal } from '../support/fake-terminal.ts'
import { openFakeWatchdog } from '../support/fake-watchdog.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

let base: string
beforeAll(() => {
  base = mkdtempSync('/tmp/ss-')
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

const verdict = (faults: readonly object[]) => ({ faults, warnings: [] }) as never
/** Judges as both processes do, in this one; every channel takes its test but those that `deaf` names. */
const machineOf = (deaf: Set<string>, more: Partial<Machine> = {}): Machine => ({
  probes: {
    judge: async (what, _, text) =>
      verdict(
        what === 'config'
          ? judgeConfig(Buffer.from(text).toString()).faults
          : (await judgeText(Buffer.from(text).toString())).faults,
      ),
    send: async (_, __, given) =>
      (given as { names: string[] }).names.map((channel) => ({ channel, ok: !deaf.has(channel), answer: 'told so' })),
  },
  takeOver: async () => undefined,
  root: join(base, 'nowhere'),
  isRoot: true,
  ...more,
})

const FILES = ['hub.yaml', 'watchdog/config.yaml'] as const
function openHome() {
  const home = mkdtempSync(join(base, 'home-'))
  for (const folder of ['watchdog', 'secrets']) mkdirSync(join(home, folder), { mode: 0o700 })
  for (const file of FILES) writeFileSync(join(home, file), '# mine\n')
  const said: string[] = []
  const say = (text: string) => void said.push(text)
  const terminal = fakeTerminal({ out: say, note: say, interactive: true })
  const answer = async (what: string) => (what === 'alert.test' ? { hub: [], watchdog: null } : {})
  const call = answer as Connection['call']
  const context = fakeContext(home, terminal, { call })
  const texts = () => FILES.map((file) => readFileSync(join(home, file), 'utf8'))
  /** Every file of the home that holds this. */
  const holding = (text: string) =>
    (readdirSync(home, { recursive: true }) as string[]).filter((name) => {
      const file = join(home, name)
      return statSync(file).isFile() && readFileSync(file, 'utf8').includes(text)
    })
  return { home, context, said, texts, holding }
}

/** Every question, in its order, and what a person answers. */
const ANSWERS: readonly (readonly [RegExp, string])[] = [
  [/^Your time zone/, 'Europe/Berlin'],
  [/^Tell you by mail/, 'me@example.org'],
  [/^ {2}through which server/, 'mail.example.org:587'],
  [/^ {2}the sender's address/, 'hub@example.org'],
  [/^ {2}with which account/, 'me'],
  [/^ {2}its password, not shown/, 'pass-1'],
  [/^Tell you by push/, 'https://push.example.org/topic'],
  [/^ {2}its token, not shown/, 'token-1'],
  [/^Tell a program/, 'https://hook.example.org/in'],
  [/^ {2}the secret that signs each call, not shown/, 'sign-1'],
  [/^When a heartbeat is due/, 'daily at 09:00'],
  [/^Your name/, 'Ada'],
  [/^Your backup contact/, 'Bo'],
  [/^ {2}their mail address/, 'bo@example.org'],
  [/^An outside service/, 'https://watch.example.org/p'],
  [/^Let agents call a model/, 'anthropic'],
  [/^ {2}Its name here/, 'anthropic'],
  [/^ {2}Its address/, 'https://api.anthropic.com'],
  [/^ {2}The key of anthropic, not shown/, 'model-key-1'],
  [/^What models may cost/, '5.00 USD'],
  [/^Did the tests by email/, 'y'],
  [/^Did the tests by push/, 'y'],
  [/^Did the tests by webhook/, 'y'],
  [/^Make the card/, ''],
  [/^Rehearse the stop/, 'n'],
]
const answerTo = (question: string): string | undefined => ANSWERS.find(([which]) => which.test(question))?.[1]

/** A person who takes what is offered, else answers, and leaves at the question of that number. */
function personOf(leavesAt: number) {
  const asked: { question: string; standing: string | undefined; isSecret: boolean }[] = []
  const ask: Ask = async (question, standing, isSecret = false) => {
    if (asked.length === leavesAt) throw new Error('the person has left')
    asked.push({ question, standing, isSecret })
    const answer = answerTo(question)
    if (answer === undefined) throw new Error(`unknown question: ${question}`)
    return answer
  }
  return { ask, asked }
}

test('the table has every question', async () => {
  const { ask, asked } = personOf(Number.POSITIVE_INFINITY)
  expect(await runSetup(openHome().context, {}, ask, '', machineOf(new Set()))).toBe(0)
  expect(asked.map(({ question }) => ANSWERS.findIndex(([which]) => which.test(question)))).toEqual([...ANSWERS.keys()])
})

test.each(ANSWERS.map(([which], at) => [String(which), at] as const))(
  'interrupted at %s, nothing is half written; the next run offers what was answered and completes',
  async (_, at) => {
    const whole = openHome()
    await runSetup(whole.context, {}, personOf(Number.POSITIVE_INFINITY).ask, '', machineOf(new Set()))

    const { home, context, texts, holding } = openHome()
    const machine = machineOf(new Set())
    const first = personOf(at)
    await expect(runSetup(context, {}, first.ask, '', machine)).rejects.toThrow('the person has left')
    const [ours = '', theirs = ''] = texts()
    expect([judgeConfig(ours).faults, (await judgeText(theirs)).faults]).toEqual([[], []])
    expect((readdirSync(home, { recursive: true }) as string[]).filter((name) => name.endsWith('.new'))).toEqual([])
    // A channel stands in both files or in none.
    for (const host of ['mail.example.org', 'push.example.org', 'hook.example.org'])
      expect(ours.includes(host), host).toBe(theirs.includes(host))
    for (const secret of ['pass-1', 'token-1', 'sign-1', 'model-key-1'])
      for (const file of holding(secret)) expect(file).toMatch(/^secrets\//)

    const second = personOf(Number.POSITIVE_INFINITY)
    expect(await runSetup(context, {}, second.ask, '', machine)).toBe(0)
    for (const { question, isSecret } of first.asked) {
      const answer = answerTo(question)
      const again = second.asked.find((each) => each.question === question)
      if (!isSecret && again !== undefined && !/^(?:Did|Make|Rehearse|Let| {2}Its)/.test(question))
        expect([question, again.standing]).toEqual([question, answer])
    }
    expect(texts()).toEqual(whole.texts())
    expect(holding('pass-1')).toEqual(['secrets/alert-mail'])
    expect(statSync(join(home, 'secrets/alert-mail')).mode & 0o777).toBe(0o600)
    expect(existsSync(join(home, 'setup-draft.json'))).toBe(false)
  },
)

test.each([
  ['email', 'pass-1', 'its password', /^Tell you by mail/, 'me@example.org'],
  ['push', 'token-1', 'its token', /^Tell you by push/, 'https://push.example.org/topic'],
  ['webhook', 'sign-1', 'the secret that signs each call', /^Tell a program/, 'https://hook.example.org/in'],
] as const)(
  'who leaves after the test by %s was refused leaves no secret behind, and is offered the rest again',
  async (channel, secret, question, part, offered) => {
    const { context, texts, holding } = openHome()
    const leavesAt = ANSWERS.findIndex(([which]) => which.test(`  ${question}, not shown`)) + 1
    const first = runSetup(context, {}, personOf(leavesAt).ask, '', machineOf(new Set([channel])))
    await expect(first).rejects.toThrow('the person has left')
    expect(holding(secret)).toEqual([])
    expect(texts().join()).not.toContain(`kind: ${channel}`)
    const second = personOf(Number.POSITIVE_INFINITY)
    expect(await runSetup(context, {}, second.ask, '', machineOf(new Set()))).toBe(0)
    expect(second.asked.find((each) => part.test(each.question))?.standing).toBe(offered)
    for (const text of texts()) expect(text).toContain(`kind: ${channel}`)
  },
)

test('a first upstream and a budget are written beside what is there, and the way to a model agent is told; skip is the default and writes neither', async () => {
  const { context, said, texts, home } = openHome()
  expect(await runSetup(context, {}, personOf(Number.POSITIVE_INFINITY).ask, '', machineOf(new Set()))).toBe(0)
  expect(texts()[0]).toMatch(
    /^# mine\n[\s\S]*\nupstreams:\n {2}anthropic: \{ kind: anthropic, secret: anthropic-key \}\nbudget:\n {2}day:\n {4}usd: 5\.00 USD\n$/,
  )
  expect(readFileSync(join(home, 'secrets/anthropic-key'), 'utf8')).toBe('model-key-1')
  expect(statSync(join(home, 'secrets/anthropic-key')).mode & 0o777).toBe(0o600)
  expect(said).toContain('  hub agent build assistant')
  expect(said).toContain('  hub submit assistant --param task="..."')
  expect(said.join('\n')).not.toContain('model-key-1')

  const other = openHome()
  const { ask, asked } = personOf(Number.POSITIVE_INFINITY)
  const taking: Ask = async (question, standing, isSecret) => {
    const answer = await ask(question, standing, isSecret)
    return question.startsWith('Let agents') ? (standing ?? '') : answer
  }
  expect(await runSetup(other.context, {}, taking, '', machineOf(new Set()))).toBe(0)
  expect(asked.some(({ question }) => /^What models/.test(question))).toBe(false)
  expect(other.texts()[0]).not.toMatch(/upstreams|budget/)
  expect(other.said.join('\n')).not.toContain('assistant')
})

describe('an answer that is refused is told in plain words and asked again', () => {
  test.each([
    [/^Tell you by mail/, 'me', 'your mail address|the sender', /^Tell you by mail/],
    [/^ {2}through which server/, 'a b:c', 'the mail server: must be host:port', /^Tell you by mail/],
    [/^ {2}the sender/, 'me', "the sender's address: must be one plain address", /^Tell you by mail/],
    [/^Tell you by push/, 'nope', 'the address of your topic: must be', /^Tell you by push/],
    [/^Tell a program/, 'nope', 'the address of your program: must be', /^Tell a program/],
    [/^ {2}their mail address/, 'bo', "your backup contact's mail address: must be", /^Your backup contact/],
    [/^An outside service/, 'nope', 'the address of the outside service: ', /^An outside service/],
  ] as const)('%s', async (which, wrong, told, next) => {
    const { context, said } = openHome()
    const { ask, asked } = personOf(Number.POSITIVE_INFINITY)
    let slips = 1
    let at = 0
    const slipping: Ask = async (question, ...rest) => {
      const right = await ask(question, ...rest)
      if (!which.test(question) || slips === 0) return right
      slips -= 1
      at = asked.length
      return wrong
    }
    expect(await runSetup(context, {}, slipping, '', machineOf(new Set()))).toBe(0)
    const notes = said.filter((line) => line.startsWith('Not accepted: '))
    expect(notes).toEqual([expect.stringMatching(new RegExp(`^Not accepted: (?:${told}).* type skip to leave it out`))])
    expect(notes[0]).not.toMatch(/line \d|alerts\.|--/)
    expect(asked.slice(at).some(({ question }) => next.test(question))).toBe(true)
  })

  test('also where its test is not taken; skip leaves it out, and the rest goes on', async () => {
    const { context, said, texts, home } = openHome()
    const { ask, asked } = personOf(Number.POSITIVE_INFINITY)
    const skipping: Ask = async (question, standing, isSecret) => {
      const isAgain = asked.some((each) => each.question === question)
      const answer = await ask(question, standing, isSecret)
      return isAgain && question.startsWith('Tell') ? 'skip' : answer
    }
    const deaf = new Set(['email', 'push', 'webhook'])
    // What failed is told as such by the exit code, too.
    expect(await runSetup(context, {}, skipping, '', machineOf(deaf))).toBe(1)
    for (const channel of deaf)
      expect(said).toContainEqual(expect.stringContaining(`Not accepted: the test by ${channel} failed; the hub says`))
    expect(texts().join()).not.toMatch(/mail\.example|push\.example|hook\.example/)
    expect(readdirSync(join(home, 'secrets'))).toEqual(['anthropic-key'])
    expect(existsSync(join(home, 'setup-draft.json'))).toBe(false)
    expect(texts()[1]).toContain('daily at 09:00')
    expect(said).toContainEqual(expect.stringContaining('left to do: nobody is told'))
  })
})

test('hub setup --systemd writes and enables the units below a root, and says what it could not', async () => {
  const { home, context } = openHome()
  writeFileSync(join(home, 'instance'), '0f0e0d0c-0000-4000-8000-00000000abcd\n')
  const systemd = openFakeSystemd()
  const { root } = systemd
  const heard: string[] = []
  const terminal = { ...context.terminal, out: (line: string) => void heard.push(line) }
  const run = (isRoot: boolean) =>
    systemd.within(home, () =>
      runSetup({ ...context, terminal }, { systemd: true }, undefined, '', machineOf(new Set(), { root, isRoot })),
    )
  try {
    // What was asked for and not done is no success.
    expect(await run(false)).toBe(1)
    expect(heard).toContainEqual(expect.stringMatching(/^systemd: not installed; as root: .*install --home /))
    expect(readdirSync(join(root, 'etc/systemd/system'))).toEqual([])
    expect(await run(true)).toBe(0)
    expect(heard).toContainEqual(expect.stringMatching(/^systemd: enabled; /))
    expect(systemd.calls()).toEqual([
      'daemon-reload',
      'enable hub.service hub-watchdog.service hub-reaper.timer hub-stop.socket',
      'start hub-reaper.timer hub-stop.socket',
    ])
    expect(readFileSync(join(root, 'etc/systemd/system/hub.service'), 'utf8')).toContain(`--home ${home}\n`)
    expect(readdirSync(join(root, 'usr/local/bin'))).toEqual(['hub-stop'])
    expect(JSON.parse(readFileSync(join(home, 'units.json'), 'utf8'))).toMatchObject({ hub: 'hub.service' })
    systemd.program('systemctl', 'echo it is broken >&2; exit 1')
    expect(await run(true)).toBe(1)
    expect(heard).toContain('systemd: not installed: it is broken')
  } finally {
    systemd.remove()
  }
})

test('hub setup --rehearse holds the drill, says how it went, and answers with it', async () => {
  await using h = await createHarness({ agents: { drill: { script: puppet, card: { restarts: 0 } } } })
  const dog = await openFakeWatchdog(h.home)
  try {
    dog.answers['/v1/alert-test'] = { channels: [{ who: 'operator', channel: 'file', ok: true, why: '' }] }
    let isDeaf = false
    dog.onAsk = ({ path, body }) => {
      if (path !== '/v1/shutdown' || isDeaf) return undefined
      const found = [...h.engine.containers.values()].filter(({ session }) => session === body.session)
      for (const one of found) {
        one.exit(137)
        h.engine.containers.delete(one.id)
      }
      const containers = found.map(({ name }) => ({ container: name, outcome: 'gone' }))
      return { path: 'watchdog', requested: found.length, containers }
    }
    const heard: string[] = []
    const out = (line: string) => void heard.push(line)
    const context = createContext(h.home, false, fakeTerminal({ out }))
    // The hub's time stands still unless it is moved.
    const run = () => h.pumped(runSetup(context, { rehearse: true }, undefined, '', machineOf(new Set())))
    expect(await run()).toBe(0)
    expect(heard).toContain('rehearsal: good')
    expect(h.audit().some(({ action }) => action === 'hub.drilled')).toBe(true)
    isDeaf = true
    dog.answers['/v1/shutdown'] = { path: 'watchdog', requested: 0, containers: [] }
    expect(await run()).toBe(1)
    expect(heard).toContain('rehearsal: failed; run hub drill')
  } finally {
    await dog.close()
  }
})
