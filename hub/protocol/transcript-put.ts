/** What the shim says of a conversation that it hands over. */
import { z } from 'zod'
import { sha256Shape } from './ids.ts'
import { TRANSCRIPT_LEFT_OUT_MAX } from './transcripts.ts'

export const transcriptPutShape = z.strictObject({
  sha256: sha256Shape,
  /** Files below its folders that are no conversation, by the count of the shim: for the record. */
  leftOut: z.coerce.number().int().min(0).max(TRANSCRIPT_LEFT_OUT_MAX).default(0),
})
