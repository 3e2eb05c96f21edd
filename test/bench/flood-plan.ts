/** What the flooder by HTTP offers, for who measures beside it and for itself. */
export const HTTP_PER_SECOND = 22_000
export const HTTP_CONNECTIONS = 4
