"""placeholder"""


async def save(call):
    raise NotImplementedError


async def load(call):
    raise NotImplementedError
