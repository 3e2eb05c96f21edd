/** `hub upstream add`: what is asked, what is written and with which rights, and that a refusal has changed nothing. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { declareUpstream } from '../../../../../hub/client/cli/upstreams/add.ts'
import { wishOf } from '../../../../../hub/client/cli/upstreams/wish.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { fakeTerminal } from '../../../../support/fake-terminal.ts'

const KEY = 'canary-Tq5wN2vTy9LmKc4RbXe61HdUa8'
const BEFORE = `# mine\nalerts:\n  zone: Europe/Berlin # where I live\n`
const at = commandHome(({ home }) => writeFileSync(join(home, 'hub.yaml'), BEFORE))
const config = () => readFileSync(join(at.home, 'hub.yaml'), 'utf8')
const secret = (name: string) => join(at.home, 'secrets', name)

describe('hub upstream add', () => {
  it('writes the line below what is there and the key into a file of 0600; the key is shown nowhere', async () => {
    const words = ['upstream', 'add', '--kind', 'anthropic', '--secret-stdin', '--yes']
    const { code, stdout, stderr } = await at.runAsProcess(words, { stdin: `${KEY}\n` })
    expect(stdout + stderr).toContain('next: `hub upstream test anthropic`')
    expect(stderr).toContain('\nupstreams:\n  anthropic: { kind: anthropic, secret: anthropic-key }\n')
    expect(code).toBe(0)
    expect(config()).toBe(`${BEFORE}upstreams:\n  anthropic: { kind: anthropic, secret: anthropic-key }\n`)
    expect(readFileSync(secret('anthropic-key'), 'utf8')).toBe(KEY)
    expect(statSync(secret('anthropic-key')).mode & 0o777).toBe(0o600)
    expect(statSync(join(at.home, 'secrets')).mode & 0o777).toBe(0o700)
    expect(stdout + stderr).not.toContain(KEY)
  })

  it('what the whole file would be refused for is named, and nothing is written: file and key stay', async () => {
    mkdirSync(join(at.home, 'secrets'), { mode: 0o700 })
    writeFileSync(secret('k'), KEY, { mode: 0o600 })
    const add = (...words: string[]) => at.run(['upstream', 'add', ...words, '--secret', 'k', '--yes'])
    for (const [words, why] of [
      [['x', '--kind', 'bedrock', '--url', 'https://b.example.org'], /bedrock is not supported/],
      [['x', '--kind', 'http', '--url', 'https://a.example.org'], /--allow is missing/],
      [['x', '--kind', 'anthropic', '--price', 'free'], /upstreams\.x\.price: is free, but this provider/],
      [['X!', '--kind', 'anthropic'], /no name of an upstream/],
    ] as const) {
      const { code, stderr } = await add(...words)
      expect([code, config()]).toEqual([expect.toBeOneOf([2, 3]), BEFORE])
      expect(stderr).toMatch(why)
    }
    expect((await add('x', '--kind', 'openai', '--url', 'http://10.0.0.7:8000', '--price', 'free')).code).toBe(0)
    expect(config()).toContain('url: http://10.0.0.7:8000, secret: k, local: true, price: free }')
    const before = config()
    expect(await add('x', '--kind', 'openai')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('an upstream x is declared already'),
    })
    expect(config()).toBe(before)
    expect(readFileSync(secret('k'), 'utf8')).toBe(KEY)
  })

  it('without its key, or with one that could not stand in a header, nothing is written', async () => {
    const words = ['upstream', 'add', '--kind', 'openai']
    expect((await at.run([...words, '--yes'])).stderr).toContain('the key of openai is missing')
    const { stderr } = await at.runAsProcess([...words, '--secret-stdin', '--yes'], { stdin: 'two words of it\n' })
    expect(stderr).toContain('must be one word')
    expect(stderr).not.toContain('two words')
    // A key as the name of a secret would stand in hub.yaml.
    expect((await at.run([...words, '--secret', `sk-${KEY}`, '--yes'])).stderr).not.toContain(KEY)
    expect(config()).toBe(BEFORE)
    expect(existsSync(join(at.home, 'secrets'))).toBe(false)
  })

  it('asks for what is missing, the key unseen; a no writes nothing, a yes what was shown', async () => {
    const answers: Record<string, string> = {
      'What kind': 'git',
      'Its name here': 'forge',
      'Its address': 'https://git.example.org',
      'Which repositories': 'me/tool, me/lib',
      'The key of forge': KEY,
      'Write this?': 'n',
    }
    const asked: [string, boolean][] = []
    const ask = async (question: string, _standing?: string, isSecret = false) => {
      asked.push([question, isSecret])
      const found = Object.keys(answers).find((each) => question.startsWith(each))
      if (found === undefined) throw new Error(`nobody answers ${question}`)
      return answers[found] ?? ''
    }
    const notes: string[] = []
    const terminal = fakeTerminal({ note: (text) => void notes.push(text) })
    const context = { home: at.home, terminal }
    const wish = wishOf(undefined, { secret: 'forge-token' })
    expect(await declareUpstream(context, wish, ask)).toBeUndefined()
    expect([config(), existsSync(secret('forge-token'))]).toEqual([BEFORE, false])
    expect(asked.filter(([, isSecret]) => isSecret).map(([question]) => question)).toEqual([
      expect.stringMatching(/^The key of forge, not shown/),
    ])
    answers['Write this?'] = 'y'
    expect(await declareUpstream(context, wish, ask)).toMatchObject({ name: 'forge' })
    expect(config()).toContain(
      '  forge: { kind: git, url: https://git.example.org, secret: forge-token, repositories: [ me/tool, me/lib ] }\n',
    )
    expect(readFileSync(secret('forge-token'), 'utf8')).toBe(KEY)
    expect(notes.join('\n')).toContain('forge: { kind: git')
    expect(notes.join('\n')).not.toContain(KEY)
  })
})
