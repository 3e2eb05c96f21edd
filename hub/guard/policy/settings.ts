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
      .refine(isKey, 'it must be an Ed25519 public key in base64, as `openssl pkey -in FILE -pubout` prints it')
      .optional()
      .describe(
        'the public key that signatures are checked with: what `openssl pkey -in FILE -pubout` prints, in base64',
      ),
  })
  .refine(({ requireSignature, publicKey }) => !requireSignature || publicKey !== undefined, {
    path: ['publicKey'],
    message: 'requireSignature needs a key to check signatures with: set policy.publicKey',
  })
  .transform(({ publicKey, ...rest }) => ({ ...rest, ...(publicKey === undefined ? {} : { publicKey }) }))
