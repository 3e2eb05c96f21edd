/** Parses a value by a shape, or refuses it and names the field. */
import type { z } from 'zod'
import { HubError } from '../base/errors.ts'

/** Throws `schema_invalid`; `where` is put before the field's path. */
export function parseShape<Shape extends z.ZodType>(shape: Shape, value: unknown, where = ''): z.output<Shape> {
  const parsed = shape.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const field = [where, ...(issue?.path ?? [])].filter((part) => part !== '').join('.')
  throw new HubError('schema_invalid', `${field === '' ? '' : `${field}: `}${issue?.message ?? 'does not fit'}`)
}
