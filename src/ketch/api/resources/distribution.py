"""placeholder"""


async def auth(call):
    raise NotImplementedError


async def inspect(call):
    raise NotImplementedError


async def search(call):
    raise NotImplementedError
