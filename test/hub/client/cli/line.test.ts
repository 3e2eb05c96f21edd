/** What is typed wrongly, and help: said before anything is sent. */
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { agentRow, commandHome } from '../../../support/command-home.ts'
import { refusal } from '../../../support/fake-hub.ts'

const at = commandHome()

describe('the hub command, used wrongly', () => {
  it.each([
    [['nothing-such'], "unknown command 'nothing-such'"],
    [['status', '--bogus'], "unknown option '--bogus'"],
    [['task', 'show'], "missing required argument 'task'"],
    [['task', 'show', 'not-an-id'], '"not-an-id" is not the id of a task, nor 4 or more characters of one'],
    [['approve', 'abc'], '"abc" is not the id of a question, nor 4 or more characters of one'],
    [['task', 'list', '--state', 'asleep'], 'state: '],
    [['task', 'list', '--limit', '101'], '--limit must be a whole number from 1 to 100'],
    [['submit'], 'name an agent'],
    [['submit', 'echo', '--ttl', '10'], '--ttl: "10" is not a span'],
    [['submit', 'echo', '--param', 'novalue'], '--param: "novalue" is not k=v'],
    [['submit', 'echo', '--param', 'k:={'], '--param: "{" is not JSON'],
    [['submit', 'echo', '--input', '/nonexistent'], '--input: /nonexistent cannot be read (ENOENT)'],
    [['submit', 'Not A Name'], 'agent: a name is'],
    [['wait', '--for', 'task=gone'], '--for: "task=gone"'],
    [['session', 'stop'], 'name sessions, or say --all'],
    [['shutdown'], 'confirmation needed'],
    [['agent', 'new', 'mine', '--dir', 'a', '--lang', 'ts', '--dir', 'b'], '--dir is given twice'],
    [['task', 'list', '--home', '/a', '--home', '/a'], '--home is given twice'],
    [['session', 'stop', '--agent', 'one', '--agent', 'two', '--yes'], '--agent is given twice'],
  ])('%j exits 2, says why in one line, and sends nothing', async (args, text) => {
    const { code, stdout, stderr } = await at.run(args)
    expect(stderr).toContain(`hub: ${text}`)
    expect(stderr).toMatch(/^hub: .*\nnext: .*\n$/)
    expect([code, stdout]).toEqual([2, ''])
    expect(at.hub.asked.filter(({ path }) => path !== '/v1/agents')).toEqual([])
  })

  it('a flag that holds no value, one for several values and one that takes a list may stand twice', async () => {
    for (const args of [
      ['task', 'list', '--json', '--json'],
      ['submit', 'echo', '--param', 'a=1', '--param', 'b=2'],
      ['submit', '--needs', 'read-source', '--needs', 'count'],
    ])
      expect((await at.run(args)).stderr).not.toContain('twice')
  })

  it('says that there is no hub and how to make one, exit 4', async () => {
    const missing = path.join(at.home, 'missing')
    const { code, stderr } = await at.run(['status', '--home', missing])
    expect(stderr).toBe(`hub: no hub at ${missing}: run \`hub init\`\nnext: hub init --home ${missing}\n`)
    expect(code).toBe(4)
  })

  it('fault G9: a home whose instance is gone is a home: a hub that runs on it is stopped, and the start names what is missing', async () => {
    rmSync(path.join(at.home, 'instance'), { force: true })
    mkdirSync(path.join(at.home, 'keys'), { recursive: true })
    const { stderr } = await at.run(['shutdown', '--yes'])
    expect(stderr).not.toContain('hub init')
    expect(at.hub.asked.map(({ path: at }) => at)).toContain('/v1/shutdown')
  })

  it('takes --home before HUB_HOME, wherever it stands', async () => {
    for (const args of [
      ['--home', `${at.home}/a`, 'status'],
      ['status', '--home', `${at.home}/a`],
    ]) {
      expect((await at.run(args)).stderr).toContain(`no hub at ${at.home}/a`)
    }
  })

  it('prints help on stdout with exit 0 and names every command of the table', async () => {
    const { code, stdout } = await at.run(['--help'])
    expect(code).toBe(0)
    for (const word of [
      'init',
      'up',
      'down',
      'status',
      'submit',
      'heartbeat',
      'shutdown',
      'doctor',
      'wait',
      'events',
    ]) {
      expect(stdout).toMatch(new RegExp(`^ {2}${word} `, 'm'))
    }
  })
})

describe('a slip of the finger (fault C7, fault C8)', () => {
  it.each([
    [['sumbit'], "unknown command 'sumbit'; did you mean submit?", 'see `hub --help`'],
    [['task', 'shwo'], "unknown command 'shwo'; did you mean show?", 'see `hub task --help`'],
    [['task', 'show', '--jsno'], "unknown option '--jsno'; did you mean --json?", 'see `hub task show --help`'],
    [['submit', 'echo', '--ttll', '3'], "unknown option '--ttll'; did you mean --ttl?", 'see `hub submit --help`'],
    // Nothing is like these.
    [['xylophone'], "unknown command 'xylophone'", 'see `hub --help`'],
    [['status', '--bogus'], "unknown option '--bogus'", 'see `hub status --help`'],
    [['task', 'show'], "missing required argument 'task'", 'see `hub task show --help`'],
    [
      ['submit', 'echo', '--ttl', '10'],
      '--ttl: "10" is not a span of time; write 30s, 10m or 2h',
      'see `hub submit --help`',
    ],
    [['help', 'taks'], 'there is no command taks; did you mean task?', 'see `hub --help`'],
    [
      ['audit', 'list', '--action', 'task.submited'],
      '--action: no record has the action task.submited; did you mean task.submitted?',
      '`hub audit list` shows actions, for example task.submitted',
    ],
    [
      ['audit', 'list', '--outcome', 'good'],
      '--outcome must be one of ok, refused, failed',
      'see `hub audit list --help`',
    ],
  ])('%j says what was likely meant, and where its own help is', async (args, text, next) => {
    const { code, stderr } = await at.run(args)
    expect([code, stderr]).toEqual([2, `hub: ${text}\nnext: ${next}\n`])
    expect(at.hub.asked).toEqual([])
  })

  it('an agent that nobody is named is said before anything is sent, with the one that was meant or why its card is not there', async () => {
    const problems = [{ file: 'agents/torn.yaml', line: 3, message: 'unknown key' }]
    at.hub.on('GET /v1/agents', () => ({ body: { agents: [agentRow], problems } }))
    at.hub.on('POST /v1/agents/:name/suspend', () => refusal('unknown_agent', 'no agent is named torn'))
    const of = async (...args: string[]) => (await at.run(args)).stderr.split('\n')[0]
    expect(await of('submit', 'ehco', '--input', '-')).toBe('hub: no agent is named ehco; did you mean echo?')
    expect(await of('submit', 'unlike')).toBe('hub: no agent is named unlike')
    expect(await of('agent', 'suspend', 'torn')).toBe(
      'hub: the card of torn did not load: agents/torn.yaml:3: unknown key',
    )
    expect(await of('session', 'stop', '--agent', 'ecko', '--yes')).toBe(
      'hub: no agent is named ecko; did you mean echo?',
    )
    expect(at.posted()).toEqual(['/v1/agents/torn/suspend'])
  })

  it.each([
    [
      'policy_denied',
      'no: add "x" to agents.a.message in policy/data.json',
      'add "x" to agents.a.message in policy/data.json, then `hub policy reload`',
    ],
    ['conflict', 'it ends only by `hub back`', undefined],
    ['conflict', 'something was first', 'Something else came first; look at the current state and try again.'],
  ] as const)(
    'what to do is what the line above names, never a general word against it: %s, %s',
    async (code, detail, next) => {
      at.hub.on('POST /v1/mode/resume', () => refusal(code, detail))
      const { stderr } = await at.run(['resume'])
      expect(stderr).toBe(`hub: ${detail}\n${next === undefined ? '' : `next: ${next}\n`}`)
    },
  )

  it('says which hub it is, and help of every command by name', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8'))
    expect(await at.run(['--version'])).toEqual({ code: 0, stdout: `hub ${version}\n`, stderr: '' })
    const { code, stdout } = await at.run(['help', 'task', 'show'])
    expect([code, stdout.split('\n')[0]]).toEqual([0, 'Usage: hub task show [options] <task>'])
    expect((await at.run(['help'])).stdout).toBe((await at.run(['--help'])).stdout)
  })
})
