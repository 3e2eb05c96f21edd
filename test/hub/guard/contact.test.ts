/** What the card's words are made of. */
import { mnemonicToEntropy } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { expect, it } from 'vitest'
import { createHarness } from '../../support/hub-harness.ts'

it('S1-31: 128 random bits become twelve words, other ones for each card [contact-1]', async () => {
  await using h = await createHarness({ agents: {} })
  const made = new Set<string>()
  for (let card = 0; card < 20; card += 1) {
    const { body } = await h.operator('POST', '/v1/contact/card', { name: 'Bea', operator: 'Ada' })
    const words = String(body.words).split('-')
    expect(words).toHaveLength(12)
    const bits = mnemonicToEntropy(words.join(' '), wordlist)
    expect(bits).toHaveLength(16)
    expect(new Set(bits).size, 'bytes of one card').toBeGreaterThan(8)
    made.add(Buffer.from(bits).toString('hex'))
  }
  expect(made.size).toBe(20)
  // Were a byte fixed, or an instant among them, these would share it.
  for (let byte = 0; byte < 32; byte += 2)
    expect(new Set([...made].map((hex) => hex.slice(byte, byte + 2))).size, `byte ${byte / 2}`).toBeGreaterThan(10)
})
