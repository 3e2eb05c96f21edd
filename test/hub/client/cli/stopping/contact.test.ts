/** `hub contact`: the card is shown once and written for nobody else, and what could not be told is said with how to finish. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { refusal, runHub } from '../../../../support/fake-hub.ts'
import { WORDS } from '../../../../support/stop-scene.ts'

const at = commandHome(undefined, true)

const people = { contact: 'Bea', operator: 'Ada', phone: '+49 30 1', lastResort: 'Or pull the plug.' }
const side = {
  told: true,
  publicUrl: 'https://stop.example.net',
  port: 7301,
  stopAtMs: Date.UTC(2026, 10, 26, 10),
  stopSpanMs: 50 * 3_600_000,
}
const made = (watchdogSide: object = side) => ({
  words: WORDS,
  card: { id: '0123456789ab', name: 'Bea', operator: 'Ada', madeAtMs: Date.UTC(2026, 10, 24, 8) },
  watchdog: watchdogSide,
  hub: { publicUrl: null, port: 7300 },
})

describe('hub contact card', () => {
  it('takes names from the watchdog, asks before it ends another card, and writes the page for nobody else [contact-25]', async () => {
    at.watchdog.on('POST /v1/contact', () => ({ body: { people, card: { id: 'fedcba987654', name: 'Bea' } } }))
    at.hub.on('POST /v1/contact/card', () => ({ body: made() }))
    const out = join(at.home, 'card.html')
    const asked = await at.run(['contact', 'card', '--out', out])
    expect([asked.code, existsSync(out)]).toEqual([2, false])
    const { code, stdout, stderr } = await at.run(['contact', 'card', '--out', out, '--yes'])
    expect([code, statSync(out).mode & 0o777]).toEqual([0, 0o600])
    expect(at.hub.asked.map(({ body }) => body)).toEqual([{ name: 'Bea', operator: 'Ada' }])
    for (const text of [stdout, readFileSync(out, 'utf8')]) {
      expect(text).toContain('it stops by itself 2 days 2 hours after Ada was last there')
      expect(text).toContain('+49 30 1')
      expect(text).toContain('Or pull the plug.')
    }
    expect(stdout).toContain(WORDS)
    expect(stderr).not.toContain('bacon')
    expect(stderr).toContain('print it, then delete it')
    const again = await at.run(['contact', 'card', '--out', out, '--yes'])
    expect([again.code, at.hub.asked.length]).toEqual([2, 1])
  })

  it('says what is missing: a name, an address, and a watchdog that was not told', async () => {
    expect((await at.run(['contact', 'card'])).code).toBe(2)
    expect((await at.run(['contact', 'card', '--name', 'Bea'])).stderr).toContain('--operator-name')
    at.hub.on('POST /v1/contact/card', () => ({ body: made({ told: false, reason: 'away' }) }))
    const { code, stdout, stderr } = await at.run(['contact', 'card', '--name', 'Bea', '--operator-name', 'Ada'])
    expect(code).toBe(1)
    expect(stdout).toContain('it stops by itself when nobody looks after it')
    expect(stderr).toContain('accepts the old card')
    expect(stderr).toContain('the card has no address')
  })

  it('--json has the words and where they lead; unusual ports stand on the card', async () => {
    at.hub.on('POST /v1/contact/card', () => ({
      body: { ...made({ ...side, port: 7411 }), hub: { publicUrl: null, port: 7410 } },
    }))
    const words = ['contact', 'card', '--name', 'Bea', '--operator-name', 'Ada']
    expect(JSON.parse((await at.run([...words, '--json'])).stdout)).toMatchObject({
      words: WORDS,
      address: 'https://stop.example.net',
    })
    expect((await at.run(words)).stdout).toContain('hub-stop 7411 7410')
  })
})

describe('hub contact revoke', () => {
  it('goes to the hub, which tells the watchdog; what was not told is said [contact-24]', async () => {
    at.hub.on('POST /v1/contact/revoke', () => ({ body: { card: { id: '0123456789ab' }, watchdog: { told: true } } }))
    expect(await at.run(['contact', 'revoke', '--yes'])).toEqual({
      code: 0,
      stdout: 'the card 0123456789ab is revoked\n',
      stderr: '',
    })
    at.hub.on('POST /v1/contact/revoke', () => ({ body: { card: null, watchdog: { told: false } } }))
    const half = await at.run(['contact', 'revoke', '--yes'])
    expect([half.code, half.stdout]).toEqual([1, 'there was no card in force\n'])
    expect(half.stderr).toContain('still accepts it')
  })

  it('with the hub dead goes to the watchdog, and with both dead says so [contact-24]', async () => {
    await at.closeHub()
    at.watchdog.on('POST /v1/contact', () => ({ body: { card: { id: '0123456789ab', name: 'Bea' } } }))
    const { code, stdout, stderr } = await at.run(['contact', 'revoke', '--yes'])
    expect([code, stdout]).toEqual([1, 'the card 0123456789ab is revoked\n'])
    expect(stderr).toContain('the hub learns of it from the watchdog')
    expect(at.watchdog.asked.map(({ body }) => (body as { action: string }).action)).toEqual(['show', 'revoke'])
    await at.watchdog.close()
    const none = await at.run(['contact', 'revoke', '--yes'])
    expect(none.code).toBe(4)
    expect(none.stderr).toContain('while both are down the card stops nothing')
  })
})

describe('hub contact test and confirm', () => {
  it('a code that was sent is not shown; where no channel took it, it is, with what that does not show', async () => {
    at.hub.on('POST /v1/contact/test', () => ({ body: { sent: 1, failed: ['push: refused'] } }))
    const sent = await at.run(['contact', 'test'])
    expect([sent.code, sent.stdout]).toEqual([
      0,
      'a code was sent by 1 of 2 channels; ask them to read it out, then: hub contact confirm CODE\n',
    ])
    expect(sent.stderr).toContain('not sent: push: refused')
    at.hub.on('POST /v1/contact/test', () => ({ body: { sent: 0, failed: [], code: '123456' } }))
    expect((await at.run(['contact', 'test'])).stdout).toContain('say 123456')
  })

  it('confirm sends six digits and nothing else', async () => {
    at.hub.on('POST /v1/contact/confirm', ({ body }) =>
      (body as { code: string }).code === '123456'
        ? { body: { card: {} } }
        : refusal('forbidden', 'that is not the code'),
    )
    expect((await at.run(['contact', 'confirm', '123456'])).code).toBe(0)
    expect((await at.run(['contact', 'confirm', '654321'])).code).toBe(3)
    expect((await at.run(['contact', 'confirm', '12345'])).code).toBe(2)
  })
})

it('hub shutdown --card needs no home, and no card is wrong use', async () => {
  const { code, stderr } = await runHub(join(at.home, 'nowhere'), ['shutdown', '--card', '/nowhere/card'], {
    cwd: at.home,
  })
  expect([code, stderr]).toEqual([2, 'hub-stop: there are no 12 words in /nowhere/card\n'])
})
