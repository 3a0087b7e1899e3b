// A provider of OpenID Connect whose accounts need no password: node provider.mjs PORT CLIENT SECRET REDIRECT_URI
import * as oidc from 'oidc-provider';

const [port, client_id, client_secret, redirect_uri] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const provider = new oidc.Provider(issuer, {
  clients: [{ client_id, client_secret, redirect_uris: [redirect_uri], grant_types: ['authorization_code'], response_types: ['code'] }],
  scopes: ['openid', 'email', 'groups'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  findAccount: async (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: id, email_verified: true, groups: id.startsWith('boss') ? ['leads'] : [] }),
  }),
});
provider.listen(Number(port), '127.0.0.1');
