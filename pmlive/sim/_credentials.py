"""The simulated user's credentials: constants that no real venue would take."""

import msgspec

__all__ = ["CREDENTIALS", "WALLET", "Credentials"]

WALLET = "0x00000000000000000000000000000000000051a0"


class Credentials(msgspec.Struct, frozen=True):
    """API credentials of the simulated venue; they open nothing else."""

    api_key: str
    secret: str
    passphrase: str

    def environment(self) -> dict[str, str]:
        """Give the variables that hand them to a client."""
        return {
            "POLYMARKET_API_KEY": self.api_key,
            "POLYMARKET_SECRET": self.secret,
            "POLYMARKET_PASSPHRASE": self.passphrase,
        }

    def match(self, auth: dict[str, str] | None) -> bool:
        """Tell whether a client's first frame presents them."""
        return auth is not None and auth == {
            "apiKey": self.api_key,
            "secret": self.secret,
            "passphrase": self.passphrase,
        }

    def answer(self) -> dict[str, str]:
        """Give them as REST does."""
        return {"apiKey": self.api_key, "secret": self.secret, "passphrase": self.passphrase}


# The secret is base64 of "simulated secret, opens nothing".
CREDENTIALS = Credentials(
    api_key="00000000-0000-4000-8000-0000000051a0",
    secret="c2ltdWxhdGVkIHNlY3JldCwgb3BlbnMgbm90aGluZw==",  # noqa: S106  # of the simulation
    passphrase="simulated-passphrase",  # noqa: S106  # of the simulation
)
