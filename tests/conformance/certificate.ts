// A certificate of localhost that nobody trusts, with its key, for the TLS of the engine suite. Made once with openssl, for a
// hundred years; worth nothing.

export const certificate = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUQsPjcfsEXfW4bN5rC8vnVpTAJyYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE2NTIwM1oYDzIxMjYxMDI5
MTY1MjAzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASE464GMF7pL9tXiYlzAGej4lSdoap2PsE0qECfS8mW9AMqw+uEcvD7
l/pCSQN2Xo0O8E9D4xbE3cSf5MO8U3Ggo28wbTAdBgNVHQ4EFgQU+HvokBe5gbeD
NrzVKi6Swaku1IYwHwYDVR0jBBgwFoAU+HvokBe5gbeDNrzVKi6Swaku1IYwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgN/qfpTyZZIeqnfJJDFIWOV1b76yRkTiYoZ9ZWdCWfOUCIQDw
wTnxAouiXf9W97ZOonvMZz9gc3w7qNNHzY02Z4GDPQ==
-----END CERTIFICATE-----
`;

export const privateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYmpsiJ9HCDnz1Pgm
LfOkaIHnLuBVP4NuVfhFoGLuotqhRANCAASE464GMF7pL9tXiYlzAGej4lSdoap2
PsE0qECfS8mW9AMqw+uEcvD7l/pCSQN2Xo0O8E9D4xbE3cSf5MO8U3Gg
-----END PRIVATE KEY-----
`;
