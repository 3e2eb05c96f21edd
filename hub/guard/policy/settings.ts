/** `policy` in hub.yaml: what is asked of the rules before they rule, and what happens without any. */
import { z } from 'zod'
import { publicKeyOf } from './home-bundle.ts'

function isKey(text: string): boolean {
  try {
    return publicKeyOf(text) !== undefined
  } catch {
    return false
  }
}

export const policyShape = z
  .strictObject({
    failClosed: z
      .boolean()
      .default(true)
      .describe(
        'true: while no rules could be loaded nothing starts. false: your own tasks for an agent that you name start by built-in rules, without capabilities, messages or secrets, for at most an hour',
      ),
    requireSignature: z
      .boolean()
      .default(false)
      .describe("rules and data in the home's `policy/` count only with a signature (`hub policy seal --key FILE`)"),
    publicKey: z
      .string()
      .max(500)
      .refine(isKey, 'it must be the public key of an Ed25519 key, in base64: `openssl pkey -in FILE -pubout`')
      .optional()
      .describe('the public key that the signature must be by: the base64 of `openssl pkey -in FILE -pubout`'),
  })
  .refine(({ requireSignature, publicKey }) => !requireSignature || publicKey !== undefined, {
    path: ['publicKey'],
    message: 'requireSignature needs the key that the signature must be by: set policy.publicKey',
  })
  .transform(({ publicKey, ...rest }) => ({ ...rest, ...(publicKey === undefined ? {} : { publicKey }) }))
