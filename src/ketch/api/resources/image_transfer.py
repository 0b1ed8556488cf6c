"""placeholder"""


async def create(call):
    raise NotImplementedError


async def push(call):
    raise NotImplementedError
