/**
 * How far something may be passed on, and what of it is written down (S1-63): on messages and artifacts, and for routing by sensitivity.
 * From the widest circle to the smallest. Of what is `restricted` only the access is written down.
 */
import { z } from 'zod'

const DATA_CLASSES = ['public', 'internal', 'confidential', 'restricted'] as const
export type DataClass = (typeof DATA_CLASSES)[number]

export const dataClassShape = z.enum(DATA_CLASSES)
