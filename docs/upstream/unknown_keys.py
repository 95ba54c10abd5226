from axolotl.utils.schemas.trl import TRLConfig

given = {"reward_func": ["mine.reward"], "max_completion_lenght": 512}
print(TRLConfig(**given).model_dump(exclude_unset=True))
