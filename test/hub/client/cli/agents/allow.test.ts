import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { refusal } from '../../../../support/fake-hub.ts'

const CARD = 'name: a\ndescription: d\nimage: hub/a\nrun: [node, x]\ncapabilities: [read]\nlimits: { ttl: 5m }\n'
const BEFORE = '{ "agents": { "b": { "ttlMs": 1000 } } }\n'
let file: string

const at = commandHome(() => {
  for (const folder of ['agents', 'policy']) mkdirSync(path.join(at.home, folder))
  writeFileSync(path.join(at.home, 'agents', 'a.yaml'), CARD)
  file = path.join(at.home, 'policy', 'data.json')
  writeFileSync(file, BEFORE)
  chmodSync(file, 0o644)
  at.hub.on('GET /v1/policy', () => ({ body: {} }))
  at.hub.on('POST /v1/policy/reload', () => ({ body: {} }))
})
const git = (...words: string[]) =>
  execFileSync('git', ['-C', path.join(at.home, 'policy'), ...words], { encoding: 'utf8' })
function makeRepository(): void {
  git('init', '--quiet')
  git('add', '--all')
  git('-c', 'user.name=t', '-c', 'user.email=t@t', 'commit', '--quiet', '--message', 'first')
}
const reloads = () => at.hub.asked.filter(({ path: at }) => at === '/v1/policy/reload').length

describe('hub agent allow', () => {
  test('shows wish, grant and difference, and with --dry-run or without a yes writes and asks nothing', async () => {
    const dry = await at.run(['agent', 'allow', 'a', '--dry-run'])
    expect(dry.stdout).toMatch(/capabilities +read +- +\+ read/)
    expect(dry.stdout).toContain('nothing was written')
    expect([dry.code, at.hub.asked.length]).toEqual([0, 0])
    const asked = await at.run(['agent', 'allow', 'a'])
    expect(asked.stderr).toContain('add --yes')
    expect([asked.code, reloads(), readFileSync(file, 'utf8')]).toEqual([2, 0, BEFORE])
  })

  test('writes the difference whole, private and readable, commits that file alone, and has the hub read it', async () => {
    makeRepository()
    writeFileSync(path.join(at.home, 'policy', 'other'), 'not ours')
    const { code, stdout } = await at.run(['agent', 'allow', 'a', '--yes', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ agent: 'a', written: true, committed: true })
    const text = readFileSync(file, 'utf8')
    expect(JSON.parse(text).agents).toMatchObject({ b: { ttlMs: 1000 }, a: { capabilities: ['read'], ttlMs: 300_000 } })
    expect(text).toContain('\n      "capabilities": ["read"],\n')
    expect([code, statSync(file).mode & 0o777, reloads()]).toEqual([0, 0o600, 1])
    expect(git('log', '--format=%s')).toBe('hub agent allow a\nfirst\n')
    expect(git('status', '--porcelain')).toBe('?? other\n')
    expect((await at.run(['agent', 'allow', 'a', '--yes'])).stdout).toContain('nothing to write')
    expect(reloads()).toBe(1)
  })

  test('a refused reload puts the former file back, in its history too, and says why', async () => {
    makeRepository()
    at.hub.on('POST /v1/policy/reload', () => refusal('policy_unavailable', 'sample "x" must be denied'))
    const { code, stderr } = await at.run(['agent', 'allow', 'a', '--yes'])
    expect(stderr).toContain('the hub refused it: sample "x" must be denied')
    expect(stderr).toContain('is unchanged')
    expect([code, readFileSync(file, 'utf8'), git('status', '--porcelain')]).toEqual([4, BEFORE, ''])
    expect(git('show', 'HEAD:data.json')).toBe(BEFORE)
    // Fault C36: the hub is told to read what it had before, so that nothing is left of the refusal.
    expect(reloads()).toBe(2)
  })

  test('fault C12: what the rules would refuse is refused before it is written, with its place', async () => {
    const broken = '{ "agents": { "b": { "ttlMs": 1000, "egress": ["example.org"] } } }\n'
    writeFileSync(file, broken)
    const { code, stderr } = await at.run(['agent', 'allow', 'a', '--yes'])
    expect(stderr).toMatch(
      /policy\/data\.json line \d+, column \d+: agents\.b\.egress\[0\]: must be the name of an upstream.*nothing was written/,
    )
    expect([code, readFileSync(file, 'utf8'), reloads()]).toEqual([3, broken, 0])
  })

  test('writes nothing over what somebody else has written since it was shown', async () => {
    const theirs = '{ "agents": {} }\n'
    at.hub.on('GET /v1/policy', () => {
      writeFileSync(file, theirs)
      return { body: {} }
    })
    const { code, stderr } = await at.run(['agent', 'allow', 'a', '--yes'])
    expect(stderr).toContain('was changed in the meantime')
    expect([code, readFileSync(file, 'utf8'), reloads()]).toEqual([3, theirs, 0])
  })

  test('with no hub there nothing is written', async () => {
    await at.closeHub()
    const { code } = await at.run(['agent', 'allow', 'a', '--yes'])
    expect([code, readFileSync(file, 'utf8')]).toEqual([4, BEFORE])
    await at.openHub()
  })

  test('refuses an agent without a card, a broken card by its line, and names that belong to try', async () => {
    expect((await at.run(['agent', 'allow', 'c'])).stderr).toContain('agent c has no card')
    writeFileSync(path.join(at.home, 'agents', 'a.yaml'), `${CARD}wrong: 1\n`)
    expect((await at.run(['agent', 'allow', 'a'])).stderr).toContain('there is no such key')
    expect((await at.run(['agent', 'allow', 'a--dev'])).stderr).toContain('belong to `hub agent try`')
  })
})
