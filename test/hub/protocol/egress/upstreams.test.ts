/** `upstreams` of hub.yaml (docs/egress.md 2): every fault is refused by name with its line, and no value of the file is repeated (S0-24). */
import { describe, expect, it } from 'vitest'
import { type Config, judgeConfig } from '../../../../hub/config.ts'
import { faultText } from '../../../../hub/protocol/judging.ts'

const of = (text: string) => judgeConfig(text)
const faults = (text: string) => of(text).faults.map(faultText)
/** The faults of one upstream, which stands on line 2. */
const faultsOf = (one: string) => faults(`upstreams:\n  it: { ${one} }\n`)
const named = (config: Config | undefined, name: string) => config?.upstreams.find((each) => each.name === name)

const CONTRACT = `
upstreams:
  anthropic: { kind: anthropic, secret: anthropic-key }
  openai:    { kind: openai, secret: openai-key, url: https://api.openai.com }
  gemini:    { kind: google, secret: gemini-key }
  forge:     { kind: git, url: https://git.example.org, secret: forge-token, repositories: ["me/*"] }
  npm:       { kind: npm, url: https://registry.example.org }
  pypi:      { kind: pypi, url: https://index.example.org }
  weather:   { kind: http, url: https://api.example.org, allow: ["GET /v1/forecast*"] }
  llama:     { kind: openai, url: http://127.0.0.1:11434, local: true, price: free }
`

describe('upstreams', () => {
  it('of the document are taken, each with every default', () => {
    const { config, faults: wrong } = of(CONTRACT)
    expect(wrong).toEqual([])
    expect(config?.upstreams).toHaveLength(8)
    expect(named(config, 'anthropic')).toEqual({
      ...{ name: 'anthropic', kind: 'anthropic', url: 'https://api.anthropic.com', secret: 'anthropic-key' },
      auth: { form: 'header', name: 'x-api-key' },
      ...{
        local: false,
        free: false,
        allow: [],
        repositories: [],
        push: [],
        workflows: [],
        files: undefined,
        minAgeMs: undefined,
      },
      ...{ serverTools: [], headers: [], bodyBytesMax: 64 * 1024 ** 2, maxOutput: 32_000 },
    })
    expect(named(config, 'openai')?.auth).toEqual({ form: 'bearer' })
    expect(named(config, 'gemini')).toMatchObject({
      url: 'https://generativelanguage.googleapis.com',
      auth: { form: 'header', name: 'x-goog-api-key' },
    })
    expect(named(config, 'forge')).toMatchObject({
      auth: { form: 'basic' },
      repositories: ['me/*'],
      push: [],
      workflows: [],
    })
    expect(named(config, 'npm')).toMatchObject({ secret: undefined, url: 'https://registry.example.org' })
    expect(named(config, 'weather')).toMatchObject({ allow: ['GET /v1/forecast*'] })
    expect(named(config, 'llama')).toMatchObject({ local: true, free: true, secret: undefined })
  })

  it('are none without the key', () => expect(of('').config?.upstreams).toEqual([]))

  it('take the key by a program, another place of the key, and a base with a path', () => {
    const url = 'https://me.example.org/openai/deployments/one/'
    const one = `kind: openai, url: ${url}, auth: header Api-Key, secret: { command: [/usr/bin/az, token], ttl: 10m }`
    expect(named(of(`upstreams: { it: { ${one} } }`).config, 'it')).toMatchObject({
      url: url.slice(0, -1),
      auth: { form: 'header', name: 'api-key' },
      secret: { command: ['/usr/bin/az', 'token'], ttlMs: 600_000 },
    })
  })
})

describe('an upstream with a fault is refused with its line', () => {
  it.each([
    // What its kind needs.
    ['kind: anthropic', /^line 2, column \d+: upstreams\.it\.secret: is missing: name the file in HOME\/secrets/],
    ['kind: openai, url: https://a.example', /secret: is missing/],
    ['kind: git, url: https://a.example', /repositories: is missing/],
    ['kind: git, url: https://a.example, repositories: [a/b], push: [main]', /secret: is missing: nobody pushes/],
    ...(
      [
        ['[hub/*], workflows: [main]', /workflows: names what push does not list: main/],
        ['[hub/ci], workflows: [hub/*]', /workflows: names what push does not list: hub/],
        ['[hub/*], workflows: maybe', /workflows: must be true, or a list of branches/],
        ['[hub/*], workflows: ["*"]', /workflows: names what push does not list: \*/],
        ['[hub/*], workflows: [hub/a, hub/a]', /workflows: an entry is there twice/],
        ['[], workflows: true', /workflows: is true, and push lists no branch/],
      ] as const
    ).map(([lists, why]): [string, RegExp] => [
      `kind: git, url: https://a.example, repositories: [a/b], secret: s, push: ${lists}`,
      why,
    ]),
    ['kind: npm', /url: is missing/],
    ['kind: http, url: https://a.example', /allow: is missing/],
    ['secret: a-key', /kind: must be one of anthropic, openai/],
    // Words that nobody knows.
    ['kind: anthropik, secret: a', /^line 2, column \d+: upstreams\.it\.kind: .*did you mean anthropic\?$/],
    ['kind: anthropic, secret: a, repositories: [a/b]', /upstreams\.it\.repositories: there is no such key/],
    ['kind: anthropic, secret: a, locl: true', /upstreams\.it\.locl: there is no such key; did you mean local\?/],
    ['kind: bedrock, secret: a', /kind: bedrock is not supported: each of its requests must be signed/],
    ['kind: openai, secret: a, url: https://bedrock-runtime.eu-west-1.amazonaws.com', /url: is Bedrock/],
    ['kind: azure, secret: a', /kind: azure is reached with kind openai/],
    // Addresses.
    ['kind: openai, secret: a, url: http://a.example', /url: is http, .*say local: true$/],
    ['kind: openai, url: https://127.0.0.1:1, secret: a', /url: is a private address: say local: true/],
    ['kind: openai, url: https://10.1.2.3, secret: a', /url: is a private address/],
    ['kind: openai, url: "https://[fd12::1]", secret: a', /url: is a private address/],
    ['kind: openai, url: https://localhost, secret: a', /url: leads to this machine or its network/],
    ['kind: openai, url: https://nas.local, secret: a', /url: leads to this machine or its network/],
    ['kind: openai, url: https://ollama:11434, secret: a', /url: leads to this machine or its network/],
    ['kind: openai, url: http://8.8.8.8, local: true', /url: is a public address, and local says/],
    ['kind: openai, local: true', /url: is missing: its kind's own address/],
    ['kind: npm, url: https://a.example, files: http://b.example', /files: is http/],
    // What does not belong together.
    ['kind: anthropic, secret: a, price: free', /price: is free, but this provider asks for money/],
    [
      'kind: openai, secret: a, price: free, url: https://eu.api.openai.com',
      /price: is free, but this provider asks for money/,
    ],
    ['kind: npm, url: https://a.example, auth: bearer', /auth: says how a key is sent; name it: secret/],
    ['kind: anthropic, secret: a, auth: cookie', /auth: must be bearer, basic, or header NAME/],
    ['kind: anthropic, secret: a, auth: header Host', /auth: names a header that the hub writes itself/],
    ['kind: anthropic, secret: a, headers: [x-api-key]', /headers\[0\]: is a header that the hub writes itself/],
    ['kind: openai, secret: a, serverTools: [mcp]', /serverTools\[0\]: connectors \(MCP\) at the provider/],
    ['kind: openai, secret: { command: [az], ttl: 10m }', /secret: must be the name of a file/],
    ['kind: openai, secret: { command: [/az], ttl: 48h }', /secret: must be the name of a file/],
    ['kind: openai, secret: a, bodyBytes: 1GiB', /bodyBytes: its ceiling is 256MiB/],
    ['kind: openai, secret: a, maxOutput: 0', /maxOutput: must be at least 1/],
    ['kind: http, url: https://a.example, allow: ["GET /a/../b"]', /allow\[0\]: holds a path with/],
    ['kind: http, url: https://a.example, allow: ["GET /a%2fb"]', /allow\[0\]: must be a method and a path/],
    ['kind: http, url: https://a.example, allow: ["CONNECT /"]', /allow\[0\]: must be a method and a path/],
  ])('{ %s }', (one, words) => {
    const said = faultsOf(one)
    expect(said[0]).toMatch(words)
    expect(said.join('\n')).toMatch(/^line 2, /)
    expect(of(`upstreams:\n  it: { ${one} }\n`).config).toBeUndefined()
  })

  it('two with one name', () => {
    const one = '{ kind: npm, url: https://a.example }'
    expect(faults(`upstreams:\n  it: ${one}\n  it: ${one}\n`)).toEqual([
      'line 3, column 3: upstreams.it: this key is there twice',
    ])
    expect(
      faults(
        `upstreams:\n  it: ${one}\n  it: { kind: openai }\n  bare: { kind: openai }\nhttp: { port: 1, port: 2 }\n`,
      ),
    ).toEqual([
      'line 3, column 3: upstreams.it: this key is there twice',
      expect.stringMatching(/^line 4, column 9: upstreams\.bare\.secret: is missing/),
      'line 5, column 18: http.port: this key is there twice',
    ])
  })

  it('a name that is none, and more of them than there may be', () => {
    const one = '{ kind: npm, url: https://a.example }'
    expect(faults(`upstreams:\n  A.b: ${one}\n`)[0]).toMatch(/^line 2, column \d+: upstreams\.A\.b: a name is 1 to 63/)
    const many = Array.from({ length: 65 }, (_, at) => `  n${at}: ${one}`).join('\n')
    expect(faults(`upstreams:\n${many}\n`)[0]).toMatch(/upstreams: are more than 64/)
  })

  const CANARY = 'canary-Value-4711'
  const SMALL = 'a1b2c3d4e5f6a7b8c9d0e1f2'
  it.each([
    ['secret', `kind: anthropic, secret: sk-ant-api03-${CANARY}${CANARY}`],
    ['secret', `kind: anthropic, secret: ${SMALL}`],
    ['secret', `kind: anthropic, secret: { value: ${CANARY} }`],
    ['token', `kind: anthropic, secret: a, token: ${CANARY}`],
    ['url', `kind: openai, secret: a, url: "https://me:${CANARY}@a.example"`],
    ['url', `kind: openai, secret: a, url: "https://${CANARY}@a.example"`],
    ['url', `kind: openai, secret: a, url: "https://a.example/?key=${CANARY}"`],
    ['headers[0]', `kind: openai, secret: a, headers: ["authorization: ${CANARY}"]`],
  ])('S0-24: a key written into %s: never by its value', (key, one) => {
    const said = faultsOf(one)
    expect(said.join('\n')).toContain(`line 2, `)
    expect(said.join('\n')).toContain(`upstreams.it.${key}: `)
    expect(said.join('\n')).not.toContain(CANARY)
    expect(said.join('\n')).not.toContain(SMALL)
    expect(said.join('\n')).not.toContain('urlFrom')
  })
})

describe('an address of an upstream in another spelling is refused (E3)', () => {
  it.each(
    [
      [
        'https://0x7f.1',
        'https://2130706433',
        'https://0177.0.0.1',
        'https://127.1',
        'https://127.0.0.1.',
        'https://１２７.0.0.1',
      ],
      [
        'https://[::ffff:8.8.8.8]',
        'https://[64:ff9b::808:808]',
        'https://[2002:808:808::1]',
        'https://[2001::1]',
        'https://[::]',
      ],
      ['https://169.254.169.254', 'https://100.64.1.1', 'https://0.0.0.0', 'https://198.18.0.1', 'https://[fe80::1]'],
      [
        'https://a.example.',
        'https://A.example',
        'https://a.example:443',
        'https://a.example/a/../b',
        'https://a.example//b',
      ],
      [
        'https://a.example/a%2fb',
        'https://a.example/a;b',
        'https://a.example/#x',
        'https://a.example\\\\b',
        'https://münchen.example',
      ],
      [
        'ftp://a.example',
        'https:a.example',
        'https:/a.example',
        ' https://a.example',
        'a.example',
        '//a.example',
        'https://',
      ],
    ].flat(),
  )('%s', (url) => {
    for (const more of ['', ', local: true']) {
      const said = faultsOf(`kind: openai, secret: a, url: "${url}"${more}`)
      expect(said, `${url}${more}`).toHaveLength(1)
      expect(said[0]).toMatch(/^line 2, column \d+: upstreams\.it\.url: /)
    }
  })
})
