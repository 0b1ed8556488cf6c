"""placeholder"""


async def list_(call):
    raise NotImplementedError


async def prune(call):
    raise NotImplementedError


async def inspect(call):
    raise NotImplementedError


async def history(call):
    raise NotImplementedError


async def tag(call):
    raise NotImplementedError


async def remove(call):
    raise NotImplementedError
